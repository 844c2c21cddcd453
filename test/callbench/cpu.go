//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/gatepost/gatepost/test/turn/load"
)

const (
	warm       = 2 * time.Second  // a call goes on before it is measured
	slice      = 20 * time.Second // at most, of one round
	leastCame  = 0.99             // of the packets that a camera sends; else a round counts for nothing
	mostOfTime = 1.1              // of go2rtc's processor time
)

// forwarder is a program that brings a camera's stream to a person.
type forwarder struct {
	name string
	pid  int
	// watch makes the connection; what it gives ends it.
	watch func(context.Context) (*client, func() error, error)
	used  []float64 // per cent of a core, by round
}

// processor compares what forwarding one camera costs with what it costs go2rtc, in turn: the same camera, the same client.
func processor(ctx context.Context, b *bench) (err error) {
	free, err := freePorts(1)
	if err != nil {
		return err
	}
	cam, err := newRTSPCamera(free[0])
	if err != nil {
		return err
	}
	defer cam.close()
	filming, stop := context.WithCancel(ctx)
	filmed := make(chan error, 1)
	go func() { filmed <- cam.run(filming) }()
	defer func() {
		stop()
		err = errors.Join(err, <-filmed)
	}()
	s, err := b.newSite(ctx, 1, func(ports) string { return fmt.Sprintf("rtsp: %q", cam.url()) })
	if err != nil {
		return err
	}
	defer s.close()
	other, end, err := b.startGo2rtc(ctx, cam.url())
	if err != nil {
		return err
	}
	defer end()
	ours := &forwarder{name: "gatepost", pid: s.gate.PID(), watch: func(ctx context.Context) (*client, func() error, error) {
		c, err := s.call(ctx, 0, true, nil)
		return c, func() error { return s.hangup(ctx, c) }, err
	}}
	both := []*forwarder{ours, other}
	for round := range b.rounds {
		for i := range both {
			if err := b.round(ctx, round, both[(round+i)%2]); err != nil {
				return err
			}
		}
	}
	var ratios []float64
	for i := range ours.used {
		ratios = append(ratios, ours.used[i]/other.used[i])
	}
	for _, f := range both {
		b.report.recorded("processor of a call with 720p H.264 (2 Mbit/s) and Opus, "+f.name, median(f.used), "% of a core")
	}
	b.report.note("processor against go2rtc, by round: %.3f", ratios)
	b.report.figure("processor of a call with 720p H.264 and Opus, against go2rtc", median(ratios), "x", "<= 1.1", median(ratios) <= mostOfTime)
	return nil
}

// round measures one of them once.
func (b *bench) round(ctx context.Context, n int, f *forwarder) error {
	c, end, err := f.watch(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", f.name, err)
	}
	time.Sleep(warm)
	length := min(b.length, slice)
	before, err := load.CPU(f.pid)
	if err != nil {
		return errors.Join(err, end())
	}
	sound, picture, began := c.audio.Load(), c.video.Load(), time.Now()
	select {
	case <-time.After(length):
	case <-ctx.Done():
		return errors.Join(ctx.Err(), end())
	}
	after, err := load.CPU(f.pid)
	took := time.Since(began)
	sound, picture = c.audio.Load()-sound, c.video.Load()-picture
	if err = errors.Join(err, end()); err != nil {
		return err
	}
	f.used = append(f.used, 100*(after-before).Seconds()/took.Seconds())
	b.report.note("processor, round %d: %s %.2f %% of a core, %d packets of sound, %d of picture in %v",
		n+1, f.name, f.used[len(f.used)-1], sound, picture, took.Round(time.Millisecond))
	if least := leastCame * float64(took/soundEvery); float64(sound) < least || picture < int64(pictureRate*took.Seconds()) {
		return fmt.Errorf("%s brought %d packets of sound and %d of picture in %v: that is not the stream", f.name, sound, picture, took)
	}
	return nil
}

func median(list []float64) float64 {
	s := slices.Sorted(slices.Values(list))
	if len(s) == 0 {
		return 0
	}
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

// startGo2rtc runs it with one camera, as its own documents show it.
func (b *bench) startGo2rtc(ctx context.Context, camera string) (f *forwarder, end func(), err error) {
	free, err := freePorts(2)
	if err != nil {
		return nil, nil, err
	}
	dir, err := b.dir("go2rtc")
	if err != nil {
		return nil, nil, err
	}
	api := "127.0.0.1:" + strconv.Itoa(free[0])
	config := fmt.Sprintf("api: {listen: %q}\nrtsp: {listen: \"\"}\nwebrtc: {listen: \"127.0.0.1:%d\", ice_servers: [], filters: {loopback: true, interfaces: [lo]}}\n"+
		"streams: {door: %q}\nlog: {level: error}\n", api, free[1], camera)
	file := filepath.Join(dir, "go2rtc.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return nil, nil, err
	}
	log, err := os.Create(filepath.Join(dir, "go2rtc.log"))
	if err != nil {
		return nil, nil, err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(b.bin, "go2rtc"), "-config", file)
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = dir, log, log, &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("go2rtc (make bench-calls builds it): %w", err), log.Close())
	}
	end = func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
		_ = log.Close()
	}
	f = &forwarder{name: "go2rtc", pid: cmd.Process.Pid, watch: func(ctx context.Context) (*client, func() error, error) {
		return watchWHEP(ctx, "http://"+api+"/api/webrtc?src=door")
	}}
	for range 50 {
		if resp, err := http.Get("http://" + api + "/api"); err == nil {
			return f, end, resp.Body.Close()
		}
		time.Sleep(100 * time.Millisecond)
	}
	said, _ := os.ReadFile(log.Name())
	end()
	return nil, nil, fmt.Errorf("go2rtc does not answer: %s", said)
}

// watchWHEP makes a client that watches by WHEP.
func watchWHEP(ctx context.Context, url string) (c *client, end func() error, err error) {
	if c, err = newClient(true, nil); err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.pc.Close())
		}
	}()
	offer, err := c.offer()
	if err != nil {
		return nil, nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(offer))
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("Content-Type", "application/sdp")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return nil, nil, err
	}
	if resp.StatusCode != http.StatusCreated && resp.StatusCode != http.StatusOK || !bytes.HasPrefix(answer, []byte("v=0")) {
		return nil, nil, fmt.Errorf("go2rtc answers %s: %s", resp.Status, answer)
	}
	return c, c.pc.Close, c.accept(ctx, string(answer))
}
