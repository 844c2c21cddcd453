package mqtt

import (
	"bufio"
	"io"
	"net"
	"testing"

	paho "github.com/eclipse/paho.mqtt.golang"

	"github.com/gatepost/gatepost/mqtt/topic"
)

// flood is a broker that sends n messages of 100 bytes with QoS 1 to the first who comes, as fast as they are read.
func flood(b *testing.B, n int) string {
	b.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	payload := string(make([]byte, 100))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		if _, err := c.Read(make([]byte, 1000)); err != nil {
			return
		}
		acks := make(chan struct{})
		go func() {
			defer close(acks)
			_, _ = io.Copy(io.Discard, c)
		}()
		w := bufio.NewWriterSize(c, 64<<10)
		_, _ = w.Write([]byte{0x20, 2, 1, 0})
		for i := range n {
			_, _ = w.Write(message{topic: "sensors/roof/t1/temp", payload: payload, qos: 1, id: i%65535 + 1}.packet().encode())
		}
		_ = w.Flush() // a failure shows as a benchmark that does not end
		<-acks
	}()
	b.Cleanup(func() { ln.Close(); <-ended })
	return ln.Addr().String()
}

// BenchmarkIntake and BenchmarkBarePaho differ by what this package adds to the library.
func BenchmarkIntake(b *testing.B) {
	b.ReportAllocs()
	got := make(chan func(error), 256)
	c, err := New(Config{
		URL: "mqtt://" + flood(b, b.N), ClientID: "x", Deliver: func(_ topic.Message, done func(error)) { got <- done },
	})
	if err != nil {
		b.Fatal(err)
	}
	ended := make(chan error)
	go func() { ended <- c.Run(b.Context()) }()
	b.Cleanup(func() { <-ended })
	b.ResetTimer()
	for range b.N {
		(<-got)(nil)
	}
}

func BenchmarkBarePaho(b *testing.B) {
	b.ReportAllocs()
	got := make(chan paho.Message, 256)
	o := paho.NewClientOptions().AddBroker("tcp://" + flood(b, b.N)).SetClientID("x").SetCleanSession(false).SetAutoAckDisabled(true)
	o.SetDefaultPublishHandler(func(_ paho.Client, m paho.Message) { got <- m })
	c := paho.NewClient(o)
	b.ResetTimer()
	if t := c.Connect(); t.Wait() && t.Error() != nil {
		b.Fatal(t.Error())
	}
	for range b.N {
		(<-got).Ack()
	}
	b.StopTimer()
	c.Disconnect(100)
}
