package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bordo/agent"
	"bordo/agent/api"
	"bordo/agent/config"
	"bordo/contract"
	"bordo/drivers"
	"bordo/drivers/all"
	"bordo/drivers/catalogue"
	"bordo/drivers/driverstest"
	"bordo/drivers/line"
	"bordo/drivers/modbus/golden"
	"bordo/drivers/modbus/slave"
	firmwarenotes "bordo/firmware-notes"
)

const plant = `version: 1
tenant: cremasco
node: quintano
mqtt: {url: mqtts://broker.example}
lines:
  - id: roof
    port: tcp://192.168.1.40:502
    devices: [{id: inv-1, model: sunspec, unit: 1}]
  - id: rs485-a
    port: serial:///dev/ttyTEST?baud=9600
    devices: [{id: meter-1, model: eastron-sdm630, unit: 3}]
`

// bench is a desk in a synctest bubble, with devices on simulated wires instead of ports.
type bench struct {
	*client
	units  map[string]map[byte]slave.Answerer // by the endpoint's key
	opened int
}

func newBench(t *testing.T) *bench {
	t.Helper()
	cfg, err := config.Parse("bordo.yaml", []byte(plant), all.List())
	if err != nil {
		t.Fatal(err)
	}
	inverter, err := slave.Named("sunspec",
		slave.Options{Identity: drivers.Description{Maker: "Altra Marca", Model: "AM-20K", Serial: "SN000123",
			Firmware: "3.21"}})
	if err != nil {
		t.Fatal(err)
	}
	meter, err := slave.Named("eastron-sdm630", slave.Options{Identity: drivers.Description{Serial: "22041234"}})
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range map[string]float64{"frequency": 50.02, "ac_voltage_l1": 231.5, "ac_voltage_l2": 230,
		"ac_voltage_l3": 229.25} {
		if err := errors.Join(meter.Set(k, catalogue.Number(v)), inverter.Set(k, catalogue.Number(v))); err != nil {
			t.Fatal(err)
		}
	}
	b := &bench{units: map[string]map[byte]slave.Answerer{
		"tcp 192.168.1.40:502": {1: inverter}, "serial /dev/ttyTEST": {3: meter},
		"tcp 192.168.1.40:1502": {1: inverter},
	}}
	b.client = &client{cfg: cfg, drivers: cfg.Drivers,
		open: func(_ context.Context, e line.Endpoint) (drivers.Port, error) {
			units, there := b.units[e.Key()]
			if !there {
				return nil, &drivers.Error{Op: "open " + e.String(), Kind: drivers.Closed, Lost: true,
					Err: errors.New("no such port")}
			}
			b.opened++
			here, there2 := driverstest.Wire(0)
			go func() {
				if e.Scheme == line.TCP {
					slave.ServeTCP(t.Context(), there2, units) //nolint:errcheck // seen by who asks
				} else {
					slave.ServeRTU(t.Context(), there2, units, slave.RTU{}) //nolint:errcheck // likewise
				}
			}()
			return here, nil
		}}
	return b
}

func english() *langValue { l := langValue("en"); return &l }
func italian() *langValue { l := langValue("it"); return &l }

func printed() (console, *strings.Builder, *strings.Builder) {
	var out, err strings.Builder
	return console{&out, &err}, &out, &err
}

func TestReadByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		c, out, _ := printed()
		if err := read(t.Context(), c, b.client, "meter-1", italian(), false); err != nil {
			t.Error(err)
		}
		for _, want := range []string{
			"meter-1, eastron-sdm630, Eastron SDM630, matricola 22041234\n",
			"\nfrequency                50.02 Hz     Frequenza\n", "\nac_power                     -",
			" W      Potenza AC (il dispositivo non lo dà)\n",
		} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("no %q in\n%s", want, out)
			}
		}
		c, out, _ = printed()
		if err := read(t.Context(), c, b.client, "inv-1", english(), true); err != nil {
			t.Error(err)
		}
		var r api.Reading
		if err := json.Unmarshal([]byte(out.String()), &r); err != nil || r.Info == nil ||
			r.Info.Serial != "SN000123" || r.Line != "roof" || len(r.Values) < 10 {
			t.Errorf("got %v %+v", err, r)
		}
		if b.opened != 2 {
			t.Errorf("%d ports were opened", b.opened)
		}
		err := read(t.Context(), c, b.client, "metre-1", english(), false)
		if want := `no device "metre-1" in bordo.yaml (did you mean meter-1?)`; err == nil || err.Error() != want ||
			!errors.As(err, new(mistake)) {
			t.Errorf("got %v, want %s", err, want)
		}
	})
}

// A device that does not answer is told with the exit code, and so is a port that cannot be opened.
func TestReadOfASilentDevice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.units["serial /dev/ttyTEST"] = nil
		c, out, _ := printed()
		if err := read(t.Context(), c, b.client, "meter-1", english(), false); err == nil ||
			!strings.Contains(err.Error(), "no answer within 500ms") {
			t.Errorf("got %v", err)
		}
		if !strings.Contains(out.String(), "\nno values\n") {
			t.Errorf("printed\n%s", out)
		}
		delete(b.units, "serial /dev/ttyTEST")
		if err := read(t.Context(), c, b.client, "meter-1", english(), false); err == nil ||
			!strings.Contains(err.Error(), "no such port") {
			t.Errorf("got %v", err)
		}
	})
}

func TestReadRaw(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		c, out, _ := printed()
		q := rawQuestion{url: "tcp://192.168.1.40", unit: 1, count: 4, first: map[string]string{"holding": "40000"}}
		if err := q.check(nil); err != nil {
			t.Fatal(err)
		}
		if err := readRaw(t.Context(), c, b.client, q, false, english()); err != nil {
			t.Error(err)
		}
		want := `                             high register first     low register first
 ADDR  HEX     U16    I16  TX       32 BIT      FLOAT       32 BIT      FLOAT
40000  5375  21365         Su   1400204883          -   1850954613          -
40001  6E53  28243         nS   1850933249          -        93779          -
40002  0001      1                   65602          -      4325377          -
40003  0042     66

text  "SunS...B"
`
		if out.String() != want {
			t.Errorf("printed\n%s\nwant\n%s", out, want)
		}
	})
}

func TestCaptureByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		file := filepath.Join(t.TempDir(), "meter.txtar")
		c, out, said := printed()
		if err := capture(t.Context(), c, b.client, "meter-1", file, english()); err != nil {
			t.Fatal(err)
		}
		if out.String() != "" || !strings.HasPrefix(said.String(), file+": written") {
			t.Errorf("printed %q and %q", out, said)
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		f, err := golden.Parse(file, text)
		if err != nil || f.Model != "eastron-sdm630" || f.Origin != golden.Capture ||
			!slices.Contains(f.Readings, golden.Line{Name: "frequency", Text: "50.02"}) {
			t.Errorf("%v in\n%s", err, text)
		}
		if strings.Contains(string(text), "22041234") || strings.Contains(string(text), "01 50 54 92") {
			t.Errorf("the serial number is in\n%s", text)
		}
		if err := capture(t.Context(), c, b.client, "meter-1", file, english()); !errors.Is(err, os.ErrExist) {
			t.Errorf("a file that was there: %v", err)
		}
		c, out, _ = printed()
		if err := capture(t.Context(), c, b.client, "inv-1", "", english()); err != nil ||
			!strings.Contains(out.String(), "\nserial XX000000\n") {
			t.Errorf("%v, printed\n%s", err, out)
		}
	})
}

func TestRawQuestions(t *testing.T) {
	for line, want := range map[string]string{
		"--raw tcp://h --holding 1":                                     "",
		"--raw tcp://h --unit 0 --input 0xFFFF":                         "",
		"--raw serial:///dev/ttyS0 --coil 65535 --count 1":              "",
		"--raw rtu+tcp://h:1 --discrete 0 --count 2000":                 "",
		"--raw tcp://h --holding 1 --input 2":                           "give one of --holding, --input, --coil and --discrete (got 2)",
		"--raw tcp://h":                                                 "(got 0)",
		"--raw h --holding 1":                                           "--raw: unknown kind of port",
		"--raw tcp://h --holding 65536":                                 "--holding: must be 0 to 65535",
		"--raw tcp://h --holding x":                                     "--holding: must be 0 to 65535",
		"--raw tcp://h --holding 1 --count 126":                         "--count: must be 1 to 125",
		"--raw tcp://h --holding 1 --count 0":                           "--count: must be 1 to 125",
		"--raw tcp://h --coil 1 --count 2001":                           "--count: must be 1 to 2000",
		"--raw tcp://h --holding 65535 --count 2":                       "end with address 65535",
		"--raw tcp://h --holding 1 --unit 256":                          "--unit: must be 0 to 255",
		"--raw serial:///dev/ttyS0 --holding 1 --unit 0":                "0 is everybody",
		"--raw tcp://h --holding 1 meter-1":                             "either a device or --raw",
		"--holding 1":                                                   "--raw is missing",
		"":                                                              "which device?",
		"meter-1":                                                       "",
		"meter-1 --count 3":                                             "",
		"--raw serial:///dev/ttyS0?baud=9601 --holding 1":               "baud must be one of",
		"--raw tcp://192.168.1.40 --unit 1 --holding 40000 --count 125": "",
	} {
		var q rawQuestion
		set := flag.NewFlagSet("read", flag.ContinueOnError)
		q.flags(set, english())
		var operands []string
		for rest := strings.Fields(line); len(rest) > 0; {
			if err := set.Parse(rest); err != nil {
				t.Fatal(err)
			}
			if rest = set.Args(); len(rest) > 0 {
				operands, rest = append(operands, rest[0]), rest[1:]
			}
		}
		err := q.check(operands)
		if want == "" && err != nil || want != "" &&
			(err == nil || !strings.Contains(err.Error(), want) || !errors.As(err, new(mistake))) {
			t.Errorf("%s: %v, want %q", line, err, want)
		}
	}
}

func TestPoints(t *testing.T) {
	stdout, _, code := invoke(t, "points", "--lang", "it", "PORTA")
	if want := "PUNTO      UNITÀ  TIPO   CHE COS'È\ndoor_open  -      sì/no  Porta aperta\n"; code != 0 ||
		stdout != want {
		t.Errorf("exit code %d, printed\n%swant\n%s", code, stdout, want)
	}
	if stdout, _, code := invoke(t, "points"); code != 0 ||
		strings.Count(stdout, "\n") != 1+len(catalogue.Points())+3 || !strings.Contains(stdout, "\ndc1_power ") {
		t.Errorf("exit code %d, printed\n%s", code, stdout)
	}
	if _, stderr, code := invoke(t, "points", "cancello"); code != 1 ||
		!strings.Contains(stderr, "no point has \"cancello\" in it") {
		t.Errorf("exit code %d, printed\n%s", code, stderr)
	}
	var list []map[string]any
	stdout, _, code = invoke(t, "points", "--json", "import_energy")
	if err := json.Unmarshal([]byte(stdout), &list); err != nil || code != 0 || len(list) == 0 ||
		list[0]["unit"] != "kW.h" || list[0]["kind"] != "counter" {
		t.Errorf("exit code %d, %v, printed\n%s", code, err, stdout)
	}
}

func TestModelsAndNotes(t *testing.T) {
	none := filepath.Join(t.TempDir(), "none.yaml")
	stdout, _, code := invoke(t, "models", "--config", none)
	if code != 0 || !strings.Contains(stdout,
		"\ncame-gard-ptx        barrier   38400 8E1   unverified  CAME GARD PTX") {
		t.Errorf("exit code %d, printed\n%s", code, stdout)
	}
	stdout, _, code = invoke(t, "models", "--config", none, "--json")
	var list []map[string]any
	if err := json.Unmarshal([]byte(stdout), &list); err != nil || code != 0 ||
		len(list) != len(all.List()[0].Models()) {
		t.Errorf("exit code %d, %v, %d models", code, err, len(list))
	}
	whole, _ := firmwarenotes.Note("came-gard-ptx")
	for _, name := range []string{"came-gard-ptx", "ptx", "CAME"} {
		if stdout, stderr, code := invoke(t, "notes", name); code != 0 || stdout != page(whole, plainWidth) {
			t.Errorf("notes %s: exit code %d, %s", name, code, stderr)
		}
	}
	if stdout, _, code := invoke(t, "notes"); code != 0 || stdout != strings.Join(firmwarenotes.Models(), "\n")+"\n" {
		t.Errorf("exit code %d, printed\n%s", code, stdout)
	}
	for name, want := range map[string]string{
		"sunspek": "no note of \"sunspek\" (did you mean sunspec?)",
		"eastron": "is in the names of several models: eastron-sdm120, ",
		"a":       "is in the names of several models: ",
		"qqqqqq":  "no note of \"qqqqqq\": bordo notes lists them",
	} {
		if _, stderr, code := invoke(t, "notes", name); code != 2 || !strings.Contains(stderr, want) {
			t.Errorf("notes %s: exit code %d, %s", name, code, stderr)
		}
	}
}

func TestSameEndpoint(t *testing.T) {
	dir := t.TempDir()
	if err := errors.Join(os.WriteFile(dir+"/tty", nil, 0o600), os.Symlink(dir+"/tty", dir+"/usb-1-2")); err != nil {
		t.Fatal(err)
	}
	parse := func(url string) line.Endpoint {
		e, err := line.Parse(url)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"serial://" + dir + "/tty", "serial://" + dir + "/usb-1-2?baud=19200", true},
		{"serial://" + dir + "/tty", "serial://" + dir + "/other", false},
		{"tcp://h:502", "tcp://H:502", true},
		{"tcp://h", "tcp://h:503", false},
	} {
		if got := sameEndpoint(parse(c.a), parse(c.b)); got != c.same {
			t.Errorf("%s and %s: %v", c.a, c.b, got)
		}
	}
}

func TestLanguage(t *testing.T) {
	if _, stderr, code := invoke(t, "read", "--lang", "fr", "x"); code != 2 ||
		!strings.Contains(stderr, "want it or en") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}

func TestDecodings(t *testing.T) {
	rows := decodings(10, []byte{0x43, 0x66, 0x33, 0x34, 0xFF, 0xFE, 0x12, 0x34, 'A', 'b', 0x7F, 0xC0})
	if len(rows) != 6 || rows[5].Two != nil || rows[3].Four != nil {
		t.Fatalf("%d rows", len(rows))
	}
	// The expected values are worked out with Python's struct module.
	for what, c := range map[string][2]any{
		"address":      {rows[1].Address, 11},
		"f32":          {*rows[0].Two.Float, 230.20001},
		"f32 low":      {rows[4].TwoLow.Float == nil, true}, // 7FC04162: not a number
		"u32":          {rows[0].Two.Unsigned, uint64(1130771252)},
		"u32 low":      {rows[0].TwoLow.Unsigned, uint64(859063142)},
		"i32":          {rows[2].Two.Signed, int64(-126412)},
		"i16":          {rows[2].I16, int16(-2)},
		"bcd":          {*rows[3].BCD, uint64(1234)},
		"no bcd":       {rows[2].BCD == nil, true},
		"i64":          {rows[2].Four.Signed, int64(-542934308847680)},
		"u64 low":      {rows[0].FourLow.Unsigned, uint64(1311954858717496166)},
		"f64":          {*rows[0].Four.Float, 4.999001771033027e+16},
		"text":         {rows[4].Text, "Ab"},
		"no text":      {rows[2].Text, ""},
		"hex":          {rows[5].Hex, "7FC0"},
		"bcd of two":   {rows[1].Two.BCD == nil, true},
		"text of pair": {pair('Z', 0), "Z"},
	} {
		if c[0] != c[1] {
			t.Errorf("%s: %v, want %v", what, c[0], c[1])
		}
	}
	if _, err := json.Marshal(rows); err != nil {
		t.Error(err)
	}
	c, out, _ := printed()
	if err := writeBits(c, drivers.RawQuery{Area: "coil", First: 100, Count: 18}, []byte{0x01, 0x80, 0x02},
		false); err != nil {
		t.Error(err)
	}
	if want := "  100  1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 1\n  116  0 1\n"; out.String() != want {
		t.Errorf("printed\n%s\nwant\n%s", out, want)
	}
}

// The list and the table of supported devices agree about every model.
func TestModelsAgreeWithTheTable(t *testing.T) {
	page, err := os.ReadFile("../../docs/devices.md")
	if err != nil {
		t.Fatal(err)
	}
	none := filepath.Join(t.TempDir(), "bordo.yaml")
	stdout, _, code := invoke(t, "models", "--config", none, "--json")
	var list []struct{ Model, Verified string }
	if err := json.Unmarshal([]byte(stdout), &list); err != nil || code != 0 || len(list) < 20 {
		t.Fatalf("exit code %d, %v, %d models", code, err, len(list))
	}
	words := map[string]int{}
	for _, m := range list {
		words[m.Verified]++
		row := ""
		for line := range strings.Lines(string(page)) {
			if strings.HasPrefix(line, "| [`"+m.Model+"`]") {
				row = strings.TrimSpace(line)
			}
		}
		cells := strings.Split(strings.Trim(row, "| "), " | ")
		if word, _, _ := strings.Cut(cells[len(cells)-1], ";"); word != m.Verified {
			t.Errorf("%s: %q in the list, %q in the table", m.Model, m.Verified, word)
		}
	}
	if words["unverified"] < 5 || words["paper"] < 5 {
		t.Errorf("words: %v", words)
	}
}

// A person who reads a meter sees at once which phase is worth a look.
func TestReadWarnsOfPhases(t *testing.T) {
	r := api.Reading{Device: "meter-1", Model: "eastron-sdm630"}
	for point, v := range map[string]float64{"ac_power_l1": 5000, "ac_power_l2": -4900, "ac_power_l3": 5100,
		"ac_voltage_l1": 231, "ac_voltage_l2": 230, "ac_voltage_l3": 0.4} {
		r.Values = append(r.Values, agent.PointStatus{Point: point, Value: v, Quality: contract.QualityGood})
	}
	for lang, want := range map[langValue][]string{
		"en": {"warning: The voltage of one phase is missing: ", "(L3: L1 231.0 V, L2 230.0 V, L3 0.4 V)",
			"warning: The power of one phase has the sign opposite ", "(L2: L1 5000 W, L2 -4900 W, L3 5100 W)",
			"single-phase generator"},
		"it": {"avviso: Manca la tensione di una fase: ", "avviso: La potenza di una fase ha il segno opposto ",
			"generatore monofase"},
	} {
		var out, errs strings.Builder
		if err := writeReading(console{&out, &errs}, r, time.UTC, &lang); err != nil {
			t.Fatal(err)
		}
		got := strings.Join(strings.Fields(out.String()), " ")
		for _, w := range want {
			if !strings.Contains(got, w) {
				t.Errorf("no %q in\n%s", w, out.String())
			}
		}
	}
	for i := range r.Values {
		r.Values[i].Value = 230.0
	}
	var out, errs strings.Builder
	lang := langValue("en")
	if err := writeReading(console{&out, &errs}, r, time.UTC, &lang); err != nil ||
		strings.Contains(out.String(), "warning") {
		t.Errorf("%v\n%s", err, out.String())
	}
}
