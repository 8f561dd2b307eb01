package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"sync"
	"text/tabwriter"

	"bordo/cmd/commandline"
	"bordo/drivers/modbus/golden"
	"bordo/drivers/modbus/slave"
)

// maxReplays bounds the devices of one replay: each has its own port.
const maxReplays = 256

func replayCommand() commandline.Command {
	return commandline.Command{
		Name: "replay", Brief: "what bordo capture recorded, until Ctrl-C", Takes: "FILE...", Most: maxReplays,
		Text: `Serves recorded conversations, each on a loopback port of its own: what bordo capture wrote on a site answers again, register
by register. For one device on a line as it was recorded: bordo-sim serve --from FILE.`,
		Flags: func(*flag.FlagSet) commandline.Action {
			return func(ctx context.Context, c commandline.Console, files []string) error {
				if len(files) == 0 {
					return program().Misused("replay", "replay takes the files that bordo capture wrote")
				}
				return replay(ctx, c, files)
			}
		},
	}
}

// replay serves until ctx ends.
func replay(ctx context.Context, c commandline.Console, files []string) error {
	var players []*player
	defer func() {
		for _, p := range players {
			p.listener.Close() //nolint:errcheck // it is over
		}
	}()
	for _, file := range files {
		p, err := newPlayer(ctx, file)
		if err != nil {
			return err
		}
		players = append(players, p)
	}
	w := tabwriter.NewWriter(c.Out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "PORT\tUNIT\tMODEL\tFILE") //nolint:errcheck // told by Flush
	for _, p := range players {
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\n", p.url(), p.unit, p.file.Model, p.name) //nolint:errcheck // told by Flush
	}
	if err := w.Flush(); err != nil {
		return err
	}
	var serving sync.WaitGroup
	for _, p := range players {
		serving.Go(func() { p.serve(ctx) })
	}
	<-ctx.Done()
	for _, p := range players {
		p.listener.Close() //nolint:errcheck // it is over
	}
	serving.Wait()
	return nil
}

// player is one recorded device on its own port.
type player struct {
	name     string
	file     *golden.File
	unit     byte
	answers  map[byte]slave.Answerer
	listener net.Listener
}

func newPlayer(ctx context.Context, name string) (*player, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, wrong("read capture: %w", err)
	}
	f, err := golden.Parse(name, text)
	if err != nil {
		return nil, mistake(err)
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("serve %s: %w", name, err)
	}
	unit, device := slave.NewReplay(f)
	return &player{name, f, unit, map[byte]slave.Answerer{unit: device}, l}, nil
}

// url is where the agent reaches the device: a recorded serial line is one in a TCP stream here.
func (p *player) url() string {
	if p.file.Stream {
		return "tcp://" + p.listener.Addr().String()
	}
	return "rtu+tcp://" + p.listener.Addr().String()
}

// maxListeners is the maximum number of connections to a recorded device.
const maxListeners = 8

// serve answers until the listener is closed.
func (p *player) serve(ctx context.Context) {
	var open sync.WaitGroup
	defer open.Wait()
	free := make(chan struct{}, maxListeners)
	for {
		conn, err := p.listener.Accept()
		if err != nil {
			return
		}
		select {
		case free <- struct{}{}:
		default:
			conn.Close() //nolint:errcheck // it takes no more
			continue
		}
		open.Go(func() {
			defer func() { conn.Close(); <-free }() //nolint:errcheck // it is over
			if p.file.Stream {
				slave.ServeTCP(ctx, conn, p.answers) //nolint:errcheck // a client that speaks something else is let go
			} else {
				slave.ServeRTU(ctx, conn, p.answers, slave.RTU{}) //nolint:errcheck // likewise
			}
		})
	}
}
