package modbus_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"bordo/drivers"
	"bordo/drivers/catalogue"
	"bordo/drivers/driverstest"
	"bordo/drivers/modbus"
	"bordo/drivers/modbus/slave"
)

// suite puts devices on a line, each with different values at all points.
func suite(t *testing.T, l drivers.Line, char time.Duration, models ...string) driverstest.Suite {
	t.Helper()
	s := driverstest.Suite{Driver: builtIn, Line: l, Char: char, Late: 400 * time.Millisecond}
	units, broken := map[byte]slave.Answerer{}, map[byte]slave.Answerer{}
	truth := map[string]catalogue.Value{}
	for i, model := range models {
		unit := byte(i + 1)
		id := fmt.Sprint("d", unit)
		s.Devices = append(s.Devices, drivers.Device{ID: id, Model: model, Unit: int(unit), Every: 5 * time.Second})
		d, err := slave.Named(model, slave.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for n, k := range d.Points() {
			p, _ := catalogue.PointOf(k)
			switch v := catalogue.Number(float64(10*int(unit) + n + 1)); {
			case p.Type != catalogue.Float:
			case d.Set(k, v) == nil:
				truth[id+k] = v
			default:
				// A field that cannot hold the value, such as a power factor, keeps its own.
			}
		}
		units[unit] = d
		broken[unit] = partial(d)
	}
	serve := func(units map[byte]slave.Answerer) func(context.Context, *driverstest.End) error {
		return func(ctx context.Context, there *driverstest.End) error {
			if l.Stream {
				return slave.ServeTCP(ctx, there, units)
			}
			return slave.ServeRTU(ctx, there, units, slave.RTU{})
		}
	}
	s.Serve, s.Partial = serve(units), serve(broken)
	s.Truth = func(device, point string) (catalogue.Value, bool) {
		v, ok := truth[device+point]
		if p, _ := catalogue.PointOf(point); p.Type != catalogue.Float || math.Abs(v.Float()) > 1e6 {
			return v, false
		}
		return v, ok
	}
	s.Writes = func(sent []byte) bool {
		at := 1
		if l.Stream {
			at = 7
		}
		f := sent[at]
		return f == 5 || f == 6 || f == 15 || f == 16 || f == 22 || f == 23
	}
	return s
}

// partial returns a device that refuses every request that touches one register of each model.
func partial(a slave.Answerer) slave.Answerer {
	bad := map[byte][]int{3: {101, 40084}, 4: {10}}
	return slave.AnswererFunc(func(pdu []byte) []byte {
		if len(pdu) == 5 {
			first, n := int(binary.BigEndian.Uint16(pdu[1:])), int(binary.BigEndian.Uint16(pdu[3:]))
			for _, b := range bad[pdu[0]] {
				if first <= b && b < first+n {
					return []byte{pdu[0] | 0x80, 2}
				}
			}
		}
		return a.Answer(pdu)
	})
}

func TestConformance(t *testing.T) {
	const char = 10 * time.Second / 9600
	t.Run("tcp", func(t *testing.T) {
		driverstest.Run(t, suite(t, drivers.Line{ID: "tcp", Stream: true}, 0, "sunspec", "eastron-sdm630"))
	})
	t.Run("serial", func(t *testing.T) {
		s := suite(t, drivers.Line{ID: "serial", Baud: 9600, CharLen: 10}, char, "came-gard-ptx", "eastron-sdm630",
			"sunspec")
		s.Command = drivers.Command{ID: "1", Device: "d1", Action: "barrier.stop"}
		driverstest.Run(t, s)
	})
	t.Run("tunnel", func(t *testing.T) {
		driverstest.Run(t, suite(t, drivers.Line{ID: "tunnel", Tunnel: true}, 0, "eastron-sdm630", "eastron-sdm630"))
	})
}

// Every model is polled through its own device side and returns each value that was set, so every listed
// point is readable.
func TestEveryModel(t *testing.T) {
	for _, p := range modbus.Embedded() {
		t.Run(p.Model, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := tcpSite(t)
				if !p.Stream {
					s = serialSite(t)
				}
				d := profileDevice(t, p, slave.Options{})
				for _, k := range d.Points() {
					if pt, _ := catalogue.PointOf(k); pt.Type == catalogue.Float {
						d.Set(k, catalogue.Number(100)) //nolint:errcheck // a power factor stays at 1
					}
				}
				s.add(p.Model, p.Unit.Default, p.Every, d)
				s.run(3*p.Every + 30*time.Second)
				r := s.reports[0]
				if r.Err != nil || len(r.Readings) == 0 && len(p.Channels) == 0 {
					t.Fatalf("%d readings, %v", len(r.Readings), r.Err)
				}
				for _, rd := range r.Readings {
					if want := d.Value(rd.Point); rd.Quality == drivers.Good && want.Type() == catalogue.Float &&
						rd.Value != want {
						t.Errorf("%s is %v, was set to %v", rd.Point, rd.Value, want)
					}
				}
			})
		})
	}
}
