//go:build e2e

package main_test

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"bordo/contract"
	"bordo/contract/foreign"
)

// bordoctl runs the tool of the centre to its end.
func bordoctl(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	return call(t, 3*time.Minute, "bordoctl", args...)
}

// change is what the test needs of a line of "bordoctl watch --json".
type change struct {
	What, Node, Dev, State string
	Backlog                uint64
	Device                 struct{ Profile string }
}

// untilChange waits until a watch has told what is asked for.
func untilChange(t *testing.T, p *foreign.Process, what string, is func(change) bool) {
	t.Helper()
	over := time.After(patience)
	for seen := 0; ; {
		ended, more := p.Ended(), p.More()
		lines := p.Stdout()[seen:]
		seen += len(lines)
		for _, l := range lines {
			if is(decode[change](t, l)) {
				return
			}
		}
		if ended {
			t.Fatalf("%s ended before %s", p.Name(), what)
		}
		select {
		case <-more:
		case <-p.Done():
		case <-over:
			t.Fatalf("%s did not tell %s", p.Name(), what)
		}
	}
}

// TestCentre: the tool of the centre with the real agent, over TLS and under the access rules that are shipped.
func TestCentre(t *testing.T) {
	t.Parallel() // it mostly waits
	a := newAuthority(t)
	m := secured(t, a)
	cert, key := a.issue(t, "platform", false)
	ca := filepath.Join(a.dir, "ca.crt")
	url := fmt.Sprintf("mqtts://127.0.0.1:%d", m.Port)
	as := []string{"--url", url, "--ca-file", ca, "--cert-file", cert, "--key-file", key}

	if out, errs, code := bordoctl(t, append([]string{"inventory"}, as...)...); code != 1 || out != "" ||
		!strings.Contains(errs, "the broker keeps nothing for us below bordo/v1/+/+/#\nCheck --root and --tenant.") {
		t.Errorf("of an empty broker: %q, %q, exit code %d", out, errs, code)
	}
	watch := start(t, filepath.Join(bin, "bordoctl"), append([]string{"watch", "--json"}, as...)...)
	untilChange(t, watch, "its connection", func(c change) bool { return c.What == "link" && c.State == "connected" })
	plain, dir := site(t, m, "")
	agent := runAgent(t, secureSite(t, a, m, plain, filepath.Join(dir, "own.yaml"), "quintano"))
	untilChange(t, watch, "the node", func(c change) bool {
		return c.What == "node" && c.Node == "quintano" &&
			c.State == "online"
	})
	untilChange(t, watch, "a device", func(c change) bool {
		return c.What == "device" && c.Dev == "meter-1" && c.Device.Profile == "eastron-sdm630"
	})

	out, errs, code := bordoctl(t, append([]string{"verify", "--for", "20s", "--tenant", "cremasco"}, as...)...)
	if code != 0 || errs != "" || !strings.HasSuffix(out, "All that was heard is as the contract says.\n") {
		t.Errorf("exit code %d, %s\n%s", code, errs, out)
	}
	out, errs, code = bordoctl(t, append([]string{"inventory", "--csv"}, as...)...)
	rows, err := csv.NewReader(strings.NewReader(out)).ReadAll()
	if err != nil || code != 0 || len(rows) != 3 {
		t.Fatalf("inventory of %d rows, exit code %d, %v\n%s", len(rows), code, err, out)
	}
	column := func(row int, name string) string { return rows[row][slices.Index(rows[0], name)] }
	if column(1, "device") != "inv-1" || column(2, "pod") != "IT001E12345678" || column(2, "state") != "online" ||
		column(2, "every_s") != "1" || column(1, "tls_until") == "" {
		t.Errorf("inventory\n%s", out)
	}
	if !strings.Contains(errs, "warning: the certificate of quintano ends in 0 days") {
		t.Errorf("the certificate ends in a day, and that is all that is said: %q", errs)
	}

	agent.Stop(syscall.SIGKILL)
	untilChange(t, watch, "the loss of the node", func(c change) bool { return c.What == "node" && c.State == "lost" })
	m.Down()
	untilChange(t, watch, "the loss of the broker",
		func(c change) bool { return c.What == "link" && c.State == "lost" })
	m.Up(t)
	untilChange(t, watch, "its return", func(c change) bool { return c.What == "link" && c.State == "connected" })
	watch.Stop(syscall.SIGINT)
	if watch.ProcessState.ExitCode() != 0 {
		t.Errorf("Ctrl-C gives exit code %d: %s", watch.ProcessState.ExitCode(), strings.Join(watch.Stderr(), "\n"))
	}
}

// TestCentreIsToldWhatIsWrong: each way in which a broker can say no has its sentence.
func TestCentreIsToldWhatIsWrong(t *testing.T) {
	a, stranger := newAuthority(t), newAuthority(t)
	m := secured(t, a)
	closed := closedBroker(t)
	cert, key := a.issue(t, "platform", false)
	other, otherKey := stranger.issue(t, "platform", false)
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte("wrong\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ca, otherCA := filepath.Join(a.dir, "ca.crt"), filepath.Join(stranger.dir, "ca.crt")
	secure, open := fmt.Sprintf("mqtts://127.0.0.1:%d", m.Port), fmt.Sprintf("mqtt://127.0.0.1:%d", closed.Port)
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"an authority that nobody knows": {[]string{"--url", secure, "--cert-file", cert, "--key-file", key},
			"give the authority's certificate with --ca-file"},
		"another authority": {[]string{"--url", secure, "--ca-file", otherCA, "--cert-file", cert,
			"--key-file", key}, "signed by somebody else than --ca-file"},
		"no certificate": {[]string{"--url", secure, "--ca-file", ca},
			"The broker wants a certificate from us"},
		"a certificate of elsewhere": {[]string{"--url", secure, "--ca-file", ca, "--cert-file", other, "--key-file",
			otherKey}, "The broker does not accept our certificate"},
		"no TLS where there should be": {[]string{"--url", strings.Replace(secure, "mqtts", "mqtt", 1)},
			"does this port want TLS?"},
		"TLS where there is none": {[]string{"--url", strings.Replace(open, "mqtt", "mqtts", 1), "--ca-file", ca},
			"is there TLS on this port?"},
		"a wrong password": {[]string{"--url", open, "--username", "admin", "--password-file", password},
			"Check --username and what stands in --password-file"},
		"no right to subscribe": {[]string{"--url", open},
			"The broker's access rules keep this user from these topics"},
		"nobody there": {[]string{"--url", fmt.Sprintf("mqtt://127.0.0.1:%d", foreign.FreePort(t))},
			"Nobody listens there"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, verb := range []string{"watch", "verify", "inventory"} {
				out, errs, code := bordoctl(t, append([]string{verb}, c.args...)...)
				if code != 1 || out != "" && !strings.Contains(out, " connected to ") ||
					!strings.Contains(errs, c.want) || !strings.HasPrefix(errs, "bordoctl: ") {
					t.Errorf("%s: exit code %d, %q, %q", verb, code, out, errs)
				}
			}
		})
	}
}

// closedBroker is a Mosquitto whose rules allow nobody anything, and refuse subscriptions in so many words.
func closedBroker(t *testing.T) *foreign.Mosquitto {
	t.Helper()
	plugins, err := filepath.Glob("/usr/lib/*/mosquitto_dynamic_security.so")
	if err != nil || len(plugins) == 0 {
		t.Fatalf("mosquitto has no dynamic security: %v", err)
	}
	m := foreign.NewMosquitto(t)
	rules := filepath.Join(m.Dir, "rules.json")
	if out, err := exec.Command("mosquitto_ctrl", "dynsec", "init", rules, "admin",
		"right").CombinedOutput(); err != nil {
		if _, there := os.Stat(rules); there != nil {
			t.Fatalf("make rules: %v\n%s", err, out)
		}
	}
	m.Configure(t, m.Plain()+fmt.Sprintf("plugin %s\nplugin_opt_config_file %s\n", plugins[0], rules))
	m.Up(t)
	return m
}

// bad is a node that does everything wrong that can be done wrong.
type bad struct {
	t   *testing.T
	m   *foreign.Mosquitto
	seq uint64
}

func (b *bad) publish(topic, payload string, more ...string) {
	b.t.Helper()
	args := append([]string{"-h", "127.0.0.1", "-p", fmt.Sprint(b.m.Port), "-i", "bad", "-t",
		"bordo/v1/cremasco/" + topic, "-s", "-q", "1"}, more...)
	cmd := exec.Command("mosquitto_pub", args...)
	cmd.Stdin = strings.NewReader(payload)
	if out, err := cmd.CombinedOutput(); err != nil {
		b.t.Fatalf("mosquitto_pub: %v\n%s", err, out)
	}
}

func (b *bad) status() {
	s := contract.Status{Node: "ponte", State: contract.Online, Sess: "s1", Boot: "b1", Ep: "0001abcd", Next: b.seq + 1,
		Clk: contract.ClockSync, Ver: "1", TS: time.Now().UnixMilli()}
	payload, err := s.Encode()
	if err != nil {
		b.t.Fatal(err)
	}
	b.publish("ponte/status", string(payload), "-r")
}

func sampleOf(t *testing.T, node, dev string, seq uint64, value float64, at time.Time) string {
	t.Helper()
	w := contract.NewBatch(nil, contract.Envelope{Node: node, Dev: dev, Ep: "0001abcd", Clk: contract.ClockSync,
		Sent: at.UnixMilli()})
	if _, err := w.Add(seq, at.UnixMilli(),
		[]contract.Field{{Key: "ac_power", Kind: contract.KindNumber, Num: value,
			Quality: contract.QualityGood}}); err != nil {
		t.Fatal(err)
	}
	return string(w.Bytes())
}

// sample publishes the next sample of inv-1.
func (b *bad) sample() string {
	b.t.Helper()
	b.seq++
	payload := sampleOf(b.t, "ponte", "inv-1", b.seq, float64(b.seq), time.Now())
	b.publish("ponte/tele/inv-1", payload)
	return payload
}

// TestVerifyFinds: through a real broker, each kind of fault is found, and nothing else.
func TestVerifyFinds(t *testing.T) {
	t.Parallel() // it mostly waits
	m := newMosquitto(t)
	m.Up(t)
	b := &bad{t: t, m: m}
	b.publish("ponte/meta/inv-1", `{"sv":1,"node":"ponte","dev":"inv-1","rev":1,"points":{}}`, "-r")
	b.status()
	b.sample()
	old := strings.Replace(sampleOf(t, "ponte", "inv-2", 9, 1, time.Now()), "0001abcd", "0000abcd", 1)
	b.publish("ponte/tele/inv-2", old, "-r") // retained, and of no description

	verify := start(t, filepath.Join(bin, "bordoctl"), "verify", "--for", "10s", "--wait", "3m", "--json", "--url",
		fmt.Sprintf("mqtt://127.0.0.1:%d", m.Port))
	m.Says(t, " 1 bordo/v1/") // has granted what verify asked for
	heard := start(t, filepath.Join(bin, "bordoctl"), "watch", "--json", "--url",
		fmt.Sprintf("mqtt://127.0.0.1:%d", m.Port))
	untilChange(t, heard, "its connection", func(c change) bool { return c.What == "link" })
	b.status()
	again := b.sample()
	b.seq++ // this one never comes
	b.sample()
	b.publish("ponte/hist/inv-1", again) // harmless
	b.publish("ponte/hist/inv-1", sampleOf(t, "ponte", "inv-1", b.seq, -1, time.Now()))
	b.seq++
	b.publish("ponte/tele/inv-1", strings.Replace(sampleOf(t, "ponte", "inv-1", b.seq, 1, time.Now()), `"v":{`, `"w":{`,
		1))
	b.publish("ponte/tele/inv-3", sampleOf(t, "ponte", "inv-1", 50, 1, time.Now()))
	b.publish("ponte/telemetry/inv-1", "1")
	b.seq++
	b.publish("ponte/tele/inv-1", sampleOf(t, "ponte", "inv-1", b.seq, 1, time.Now()), "-q", "0")
	b.publish("ponte/meta/inv-1", `{"sv":1,"node":"ponte","dev":"inv-1","rev":2,"name":"`+strings.Repeat("a",
		contract.MaxPayload)+`","points":{}}`, "-r")
	for seq := range uint64(5) {
		b.publish("serio/tele/inv-1", sampleOf(t, "serio", "inv-1", seq+1, 1, time.Now().Add(-time.Hour)))
	}
	b.status()
	select {
	case <-verify.Done():
	case <-time.After(5 * time.Minute):
		t.Fatal("verify does not end")
	}
	if code := verify.ProcessState.ExitCode(); code != 1 {
		t.Errorf("exit code %d", code)
	}
	var report struct {
		OK     bool
		Faults []struct{ Check, Node, Dev, Detail string }
		Nodes  []struct {
			Node   string
			Resent int
		}
	}
	if err := json.Unmarshal([]byte(strings.Join(verify.Stdout(), "\n")), &report); err != nil || report.OK {
		t.Fatalf("%v\n%s", err, strings.Join(verify.Stdout(), "\n"))
	}
	var got []string
	for _, f := range report.Faults {
		got = append(got, strings.TrimSpace(f.Check+" "+f.Node+" "+f.Dev))
	}
	want := []string{"missing ponte", "conflict ponte", "schema ponte inv-1", "content ponte inv-3", "clock serio",
		"topic",
		"retained ponte inv-2", "retained serio", "retained serio inv-1", "qos ponte inv-1", "size ponte inv-1"}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(slices.Compact(got), want) {
		t.Errorf("found %q,\nwant %q\n%s", got, want, strings.Join(verify.Stdout(), "\n"))
	}
	if report.Nodes[0].Resent < 1 {
		t.Errorf("nothing came again: %+v", report.Nodes)
	}
	heard.Stop(syscall.SIGTERM)
}
