package device

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/pion/rtp"

	"github.com/gatepost/gatepost/test/sound"
)

// Intercom is a gate with a bell, a lock and a loudspeaker: a Door that rings once, and speaks plain RTP in PCMU.
type Intercom struct {
	Broker string
	Name   string
	Ring   time.Duration  // when it rings after the start
	Tone   int            // what it says, in Hz
	Speech net.PacketConn // where it hears; Run closes it
	Listen net.Addr       // where it is heard, during calls
	Heard  *sound.Meter
}

// Run serves the intercom until ctx is done.
func (i Intercom) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer i.Speech.Close()
	defer cancel(nil)
	wg.Go(i.hear)
	wg.Go(func() { i.speak(ctx) })
	wg.Go(func() { cancel(Door{Broker: i.Broker, Name: i.Name, Every: time.Hour}.Run(ctx)) })
	err := with(ctx, Config{Addr: i.Broker, ClientID: i.Name + "-bell"}, func(ctx context.Context, c *Client) error {
		select {
		case <-time.After(i.Ring):
		case <-ctx.Done():
			return nil
		}
		if err := c.Publish(ctx, Message{Topic: "home/" + i.Name + "/bell", Payload: []byte("pressed"), QoS: 1}); err != nil {
			return err
		}
		<-ctx.Done()
		return nil
	})
	if err == nil {
		err = context.Cause(ctx)
	}
	return err
}

func (i Intercom) speak(ctx context.Context) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for n := 0; ; n++ {
		p := rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: uint16(n), Timestamp: uint32(n * sound.Frame), SSRC: 1}, Payload: sound.Tone(i.Tone, n)} //nolint:gosec // they wrap
		if raw, err := p.Marshal(); err == nil {
			_, _ = i.Speech.WriteTo(raw, i.Listen) // nobody is there without a call
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (i Intercom) hear() {
	buf := make([]byte, 2000)
	for {
		n, _, err := i.Speech.ReadFrom(buf)
		if err != nil {
			return
		}
		var p rtp.Packet
		if p.Unmarshal(buf[:n]) == nil {
			i.Heard.Add(p.Payload)
		}
	}
}
