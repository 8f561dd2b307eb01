package main

import (
	"context"
	"flag"
	"fmt"
	"time"

	"bordo/cmd/bordoctl/broker"
	"bordo/cmd/bordoctl/roster"
	"bordo/cmd/commandline"
	"bordo/cmd/terminal"
	"bordo/contract"
	"bordo/contract/consumer"
)

// MQTT does not mark the end of retained messages. An inventory counts as complete when nothing more has arrived for
// quiet, and is abandoned after atMost.
const (
	quiet  = 2 * time.Second
	atMost = time.Minute
)

func inventoryCommand() commandline.Command {
	return commandline.Command{
		Name:  "inventory",
		Brief: "nodes and devices, as the retained status and meta tell",
		Text: `Lists every node and device that the broker keeps a status or a description of, and ends by itself: when nothing more
has come for 2 s, at the latest after a minute (MQTT does not say when all that is retained has been sent).

With --csv there is a row for each device, and one for a node without devices; columns are added at the end, never changed.
Text that a spreadsheet would take for a formula gets a ' in front. Certificates that end within 30 days are told on
standard error. Exit code 1 when nothing was found.`,
		Flags: func(set *flag.FlagSet) commandline.Action {
			var o broker.Options
			o.Flags(set)
			set.StringVar(&o.Node, "node", "", "only this node's `ID`")
			asCSV := set.Bool("csv", false, "print comma-separated values")
			return func(ctx context.Context, c commandline.Console, _ []string) error {
				if err := o.Check(); err != nil {
					return program().Misused("inventory", "inventory: %s", err)
				}
				return inventory(ctx, c, o, *asCSV)
			}
		},
	}
}

func inventory(ctx context.Context, c commandline.Console, o broker.Options, asCSV bool) error {
	found, err := roster.New(o.Root)
	if err != nil {
		return err
	}
	if err := collect(ctx, found, o); err != nil {
		return err
	}
	nodes := found.Nodes()
	if len(nodes) == 0 {
		return fmt.Errorf("the broker keeps nothing for us below %s\n%s", o.Filters()[0], nothingHint)
	}
	now := time.Now()
	for _, n := range nodes {
		if text, soon := roster.Certificate(n.Status, now); soon {
			fmt.Fprintln(c.Err, "warning:", text)
		}
	}
	if asCSV {
		return roster.WriteCSV(c.Out, nodes)
	}
	return terminal.Write(c.Out, roster.Inventory(nodes, now))
}

// nothingHint is printed when nothing arrives although the broker has granted every subscription.
const nothingHint = "Check --root and --tenant. Many brokers agree to a subscription and then send nothing that their access rules forbid: ask who runs it whether this user may read."

// collect gathers the retained messages.
func collect(ctx context.Context, r *roster.Roster, o broker.Options) error {
	ctx, cancel := context.WithTimeout(ctx, atMost)
	defer cancel()
	listener := broker.Listen(o, o.Filters(contract.KindStatus, contract.KindMeta))
	ended := make(chan error, 1)
	go func() { ended <- listener.Run(ctx) }()
	still := time.NewTimer(atMost)
	defer still.Stop()
	for {
		select {
		case err := <-ended:
			return err
		case <-still.C:
			cancel()
			return <-ended
		case e := <-listener.Events():
			switch {
			case e.Message != nil:
				r.Take(consumer.Message{Topic: e.Message.Topic, Payload: e.Message.Payload, Retained: e.Message.Retain},
					e.At)
				if e.Message.Retain {
					still.Reset(quiet)
				}
			case e.URL != "":
				still.Reset(quiet)
			case e.Err != nil:
				cancel()
				<-ended
				return fmt.Errorf("the connection was lost before everything had come: %w", e.Err)
			}
		}
	}
}
