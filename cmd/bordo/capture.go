package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"time"

	"bordo/agent/api"
	"bordo/agent/config"
)

func captureCommand(l *langValue) command {
	return command{
		name:     "capture",
		brief:    phrase("records what a device answers, as a proof for its profile").in(l),
		takes:    phrase("DEVICE").in(l),
		most:     1,
		complete: firstOf(deviceNames),
		text: phrase(`Polls a configured Modbus device once, through the running agent where there is one, and writes the frames with the
readings that they give. Serial numbers are masked, in the frames too. It only reads. The file proves the device's
profile (drivers/modbus/testdata/MODEL/) once somebody has compared the readings with the device's display; the
simulator can replay it.`).in(l),
		flags: func(set *flag.FlagSet) action {
			path := configFlag(set, l)
			langFlag(set, l)
			to := set.String("o", "", phrase("the `FILE` that is written; it must not be there yet (default: standard output)").in(l))
			return func(ctx context.Context, c console, operands []string) error {
				if len(operands) == 0 {
					return misused("capture", phrase("capture: which device?"))
				}
				ctx, stop := stoppable(ctx)
				defer stop()
				d, err := newClient(ctx, c, *path, true)
				if err != nil {
					return err
				}
				return capture(ctx, c, d, operands[0], *to, l)
			}
		},
	}
}

func capture(ctx context.Context, c console, d *client, id, to string, l *langValue) error {
	has, dev, err := d.device(id)
	if err != nil {
		return err
	}
	var text string
	if d.running != nil {
		text, err = d.agent.Capture(ctx, id)
	} else {
		text, err = d.captureDirect(ctx, has, dev)
	}
	if err != nil {
		return err
	}
	if to == "" {
		_, err = fmt.Fprint(c.out, text)
		return err
	}
	if err := writeNew(to, text); err != nil {
		return err
	}
	c.tell(phrase("%s: written; look whether the readings are those of the device's display").in(l, to))
	return nil
}

func (d *client) captureDirect(ctx context.Context, l config.Line, dev config.Device) (string, error) {
	port, err := d.open(ctx, l.Endpoint)
	if err != nil {
		return "", permitted(err, portOwner())
	}
	defer port.Close() //nolint:errcheck // nothing was written
	text, err := api.CaptureOn(ctx, l, dev, port, version, time.Now())
	if _, ok := errors.AsType[*api.UnsupportedError](err); ok {
		return "", phrase("capture %s: it speaks %s, and only what speaks modbus can be captured").fault(dev.ID,
			l.Driver.Name())
	}
	return text, err
}

// writeNew creates a file and refuses to replace an existing one.
func writeNew(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return phrase("%s is there already: choose another name (%v)").fault(path, err)
	}
	if err != nil {
		return fmt.Errorf("write capture: %w", err)
	}
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write capture: %w", errors.Join(err, os.Remove(path)))
	}
	return nil
}
