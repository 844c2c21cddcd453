package lifecycle

import (
	"context"
	"os"
	"os/signal"
	"sync"
)

// Signals turns signals of the operating system into the two contexts of Group.Run: the first one ends stop, the second
// ends cut. release stops listening and ends both; it returns after the goroutine behind them ended.
func Signals(parent context.Context, which ...os.Signal) (stop, cut context.Context, release func()) {
	stop, first := context.WithCancel(parent)
	cut, second := context.WithCancel(context.WithoutCancel(parent))
	ch := make(chan os.Signal, 2)
	signal.Notify(ch, which...)
	quit := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for _, end := range []context.CancelFunc{first, second} {
			select {
			case <-ch:
				end()
			case <-quit:
				return
			}
		}
	})
	var once sync.Once
	return stop, cut, func() {
		once.Do(func() {
			signal.Stop(ch)
			close(quit)
			wg.Wait()
			first()
			second()
		})
	}
}
