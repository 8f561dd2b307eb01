package modbus_test

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"

	"bordo/drivers"
	"bordo/drivers/catalogue"
	"bordo/drivers/modbus"
	goldenfile "bordo/drivers/modbus/golden"
	"bordo/drivers/modbus/slave"
)

// A captured file passes the test of the golden cases unchanged.
func TestCapturedIsGolden(t *testing.T) {
	for _, c := range []struct {
		model  string
		stream bool
		values map[string]catalogue.Value
		taps   []drivers.ChannelMap
	}{
		{"eastron-sdm630", false, map[string]catalogue.Value{"ac_power": catalogue.Number(-1252.25),
			"frequency": catalogue.Number(50.02), "import_energy": catalogue.Number(20714)}, nil},
		{"sunspec", true, map[string]catalogue.Value{"ac_power": catalogue.Number(37390),
			"state": catalogue.Words("producing"), "temperature": catalogue.Number(24.6)}, nil},
		{"came-gard-ptx", false, map[string]catalogue.Value{"state": catalogue.Words("open"),
			"cycles": catalogue.Number(70000)}, nil},
		{"waveshare-relay", false, nil, []drivers.ChannelMap{{Point: "door_open", Channel: "di1", Invert: true},
			{Point: "camera_power", Channel: "do2"}}},
	} {
		t.Run(c.model, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), c.model, "captured.txtar")
			if err := os.Mkdir(filepath.Dir(file), 0o700); err != nil {
				t.Fatal(err)
			}
			synctest.Test(t, func(t *testing.T) {
				p, err := modbus.Named(c.model)
				if err != nil {
					t.Fatal(err)
				}
				device, err := slave.New(p,
					slave.Options{Identity: drivers.Description{Serial: "2204123", Firmware: "7"}})
				if err != nil {
					t.Fatal(err)
				}
				for k, v := range c.values {
					if err := device.Set(k, v); err != nil {
						t.Fatal(err)
					}
				}
				dev := drivers.Device{ID: "d", Model: c.model, Unit: 7, ChannelMaps: c.taps}
				port := served(t, c.stream, 0, map[byte]slave.Answerer{7: device}, nil)
				rep, all, err := modbus.New().Capture(t.Context(),
					drivers.Line{Stream: c.stream, Baud: 9600, CharLen: 10}, port, dev)
				if err != nil {
					t.Fatal(err)
				}
				f, err := goldenfile.FromCapture(p, dev, c.stream, rep, all)
				if err != nil {
					t.Fatal(err)
				}
				f.Source = "this test"
				if err := os.WriteFile(file, f.Format(), 0o600); err != nil {
					t.Fatal(err)
				}
			})
			g := readGolden(t, file)
			if g.origin != goldenfile.Capture || len(g.readings) < len(c.values)+len(c.taps) ||
				len(g.taps) != len(c.taps) || g.identity["serial"] == "2204123" {
				t.Errorf("read as %+v", g)
			}
			synctest.Test(t, func(t *testing.T) { g.check(t, modbus.New()) })
		})
	}
}
