// Command pionserver is a TURN server made of pion/turn and nothing else, as its own examples put it together: what the
// relay is measured against. It logs nothing, admits every peer, and ends at SIGTERM.
package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/pion/logging"
	"github.com/pion/turn/v5"
)

func main() { os.Exit(run()) }

func run() int {
	listen := flag.String("listen", "127.0.0.1:3478", "UDP address for clients")
	relay := flag.String("relay", "127.0.0.1", "address of the relay ports")
	first := flag.Uint("first", 49152, "first relay port")
	last := flag.Uint("last", 65535, "last relay port")
	realm := flag.String("realm", "bench", "realm")
	secret := flag.String("secret-file", "", "file with the secret shared with a homeserver")
	flag.Parse()
	if err := serve(*listen, *relay, *realm, *secret, uint16(*first), uint16(*last)); err != nil {
		fmt.Fprintln(os.Stderr, "pionserver:", err)
		return 1
	}
	return 0
}

func serve(listen, relay, realm, secretFile string, first, last uint16) error {
	secret, err := os.ReadFile(secretFile)
	if err != nil {
		return err
	}
	conn, err := net.ListenPacket("udp4", listen)
	if err != nil {
		return err
	}
	log := logging.NewDefaultLoggerFactory()
	log.DefaultLogLevel = logging.LogLevelDisabled
	server, err := turn.NewServer(turn.ServerConfig{
		Realm:         realm,
		AuthHandler:   turn.LongTermTURNRESTAuthHandler(string(secret), log.NewLogger("auth")),
		LoggerFactory: log,
		PacketConnConfigs: []turn.PacketConnConfig{{
			PacketConn: conn,
			RelayAddressGenerator: &turn.RelayAddressGeneratorPortRange{
				RelayAddress: net.ParseIP(relay), Address: relay, MinPort: first, MaxPort: last, MaxRetries: 1000,
			},
		}},
	})
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	<-ctx.Done()
	return server.Close()
}
