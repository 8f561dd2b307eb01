package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"bordo/agent"
	"bordo/agent/energy"
	"bordo/cmd/terminal"
	"bordo/drivers/catalogue"
)

func confirmCommand(l *langValue) command {
	return command{
		name:     "confirm",
		brief:    phrase("accepts that a device was exchanged for another one").in(l),
		takes:    phrase("DEVICE").in(l),
		most:     1,
		complete: firstOf(deviceNames),
		text: phrase(`When another serial number answers under a device's name, its readings go on as uncertain and no energy is booked: it
may be the wrong device. This reads the serial number again and says that the device is the right one. Energy is
booked from the first reading under the new serial number on, in a new segment. It also asks for the final reading
of the meter that was taken out (kWh, from its display or the work report): the energy up to there belongs to the old
meter. Without a terminal give it with --final; not known is an answer. Needs the running agent. Exit code 1 when
there is nothing to confirm.

  bordo confirm meter-1
  bordo confirm meter-1 --final import_energy=10234.6 --final export_energy=987.7
  bordo confirm meter-1 --final unknown`).in(l),
		flags: func(set *flag.FlagSet) action {
			path := configFlag(set, l)
			langFlag(set, l)
			f := finalFlag{values: energy.Final{}}
			set.Var(&f, "final", phrase("the final `READING` of the meter that was taken out: point=kWh, may be repeated, or unknown").in(l))
			return func(ctx context.Context, c console, operands []string) error {
				if len(operands) == 0 {
					return misused("confirm", phrase("confirm: which device? bordo status shows what was exchanged"))
				}
				desk, err := newClient(ctx, c, *path, true)
				if err != nil {
					return err
				}
				return confirm(ctx, c, desk, operands[0], &f, l)
			}
		},
	}
}

// unknownFinal is the answer when a final reading is not known.
const unknownFinal = "unknown"

// finalFlag collects final readings.
type finalFlag struct {
	values energy.Final
	given  bool
}

// String implements flag.Value.
func (f *finalFlag) String() string { return "" }

// Set implements flag.Value.
func (f *finalFlag) Set(text string) error {
	f.given = true
	if text == unknownFinal {
		return nil
	}
	point, number, ok := strings.Cut(text, "=")
	if !ok || !energy.Counts(point) {
		return phrase("must be point=kWh, such as import_energy=10234.6, or unknown").fault()
	}
	kwh, err := parseKWh(number)
	if err != nil {
		return err
	}
	f.values[point] = kwh
	return nil
}

// parseKWh reads a number as people write it, with a decimal point or comma.
func parseKWh(text string) (float64, error) {
	kwh, err := strconv.ParseFloat(strings.Replace(strings.TrimSpace(text), ",", ".", 1), 64)
	if err != nil || !(kwh >= 0 && kwh <= 1e9) {
		return 0, phrase("must be a number of kWh, such as 10234.6 (got %q)").fault(text)
	}
	return kwh, nil
}

func confirm(ctx context.Context, c console, d *client, device string, final *finalFlag, lang *langValue) error {
	if _, _, err := d.device(device); err != nil {
		return err
	}
	if d.running == nil {
		return d.notRunning()
	}
	e, err := d.agent.Exchanged(ctx, device)
	if err != nil {
		return err
	}
	switch {
	case e.After == "" && e.Before == "":
		return phrase("%s: nothing to confirm: the device has given no serial number").fault(device)
	case e.After == "":
		return phrase("%s: nothing to confirm: the serial number that is known answers, %s").fault(device, e.Before)
	}
	if _, _, person := terminal.Size(os.Stdin); person && !final.given {
		if final.values, err = askFinal(os.Stdin, c.out, e, lang); err != nil {
			return err
		}
	}
	if e, err = d.agent.Confirm(ctx, device, final.values); err != nil {
		return err
	}
	switch {
	case e.Refused != nil:
		return refusedFinal(device, e.Refused)
	case e.After == "":
		return phrase("%s: nothing to confirm: the serial number that is known answers again, %s").fault(device,
			e.Before)
	}
	fmt.Fprintln(c.out, phrase("%s: confirmed serial number %s in place of %s; energy is booked from its first reading on").in(lang, device, e.After, e.Before))
	if e.Unkept != "" {
		return phrase("the confirmation could not be written to disk and lasts until the next restart: %s").fault(e.Unkept)
	}
	return nil
}

// askFinal asks a person for the final readings of a meter that was removed. An empty line means unknown.
func askFinal(in io.Reader, out io.Writer, e agent.Exchange, lang *langValue) (energy.Final, error) {
	final := energy.Final{}
	lines := bufio.NewScanner(in)
	fmt.Fprintln(out, phrase("%s: in place of serial number %s, %s answers. Final reading of the meter that was taken out (Enter: not known)").in(lang, e.Device, e.Before, e.After))
	for _, c := range e.Counters {
		last := phrase("never read").in(lang)
		if c.KWh != nil {
			last = phrase("last read %s kWh").in(lang, kwhText(*c.KWh))
		}
		p, _ := catalogue.PointOf(c.Point)
		for {
			fmt.Fprintf(out, "  %s, %s: ", lang.Of(p.It, p.En), last)
			if !lines.Scan() {
				if err := lines.Err(); err != nil {
					return nil, err
				}
				return nil, phrase("interrupted: nothing was confirmed").fault()
			}
			answer := strings.TrimSpace(lines.Text())
			if slices.Contains([]string{"", "?", unknownFinal, "non conosciuta"}, strings.ToLower(answer)) {
				break
			}
			kwh, err := parseKWh(answer)
			if err == nil {
				final[c.Point] = kwh
				break
			}
			fmt.Fprintln(out, "  "+sentence(err, lang))
		}
	}
	return final, nil
}

func kwhText(kwh float64) string { return strconv.FormatFloat(kwh, 'f', -1, 64) }

// refusedFinal says why a final reading cannot be true.
func refusedFinal(device string, f *energy.FinalFault) error {
	value, last := kwhText(f.Value), kwhText(f.Last)
	why := phrase("%s cannot be a reading").fault(value)
	switch f.Cause {
	case energy.RejectedFall:
		why = phrase("%s kWh is less than the last reading, %s kWh").fault(value, last)
	case energy.RejectedJump:
		why = phrase("%s kWh is too far above the last reading, %s kWh, for the device's power (about.rated_kw)").fault(value, last)
	case energy.UnknownCounter:
		why = phrase("the device has no such counter").fault()
	}
	return phrase("%s: nothing was confirmed: final reading of %s: %v").fault(device, f.Point, why)
}
