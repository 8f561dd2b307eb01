package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// invoke executes a command line and returns what it printed and its exit code.
func invoke(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs strings.Builder
	code = execute(t.Context(), args, console{&out, &errs})
	return out.String(), errs.String(), code
}

func TestCommandLines(t *testing.T) {
	for _, x := range []struct {
		line   string
		code   int
		stdout string // a part of it; "" means that it is empty
		stderr string // likewise
	}{
		{"", 2, "", "usage: bordo COMMAND [flags]"},
		{"help", 0, "usage: bordo COMMAND [flags]", ""},
		{"-h", 0, "usage: bordo COMMAND [flags]", ""},
		{"--help", 0, "usage: bordo COMMAND [flags]", ""},
		{"help check", 0, "usage: bordo check [--budget] [--config FILE] [--lang LANGUAGE] [--print]\n", ""},
		{"help run", 0, "--log-level LEVEL  the least LEVEL that is logged: debug, info, warn or error (default info)\n", ""},
		{"status --help", 0, "usage: bordo status [--config FILE] [--json] [--lang LANGUAGE]\n", ""},
		{"status -h", 0, "usage: bordo status [--config FILE] [--json] [--lang LANGUAGE]\n", ""},
		{"version", 0, "bordo unknown\ngo", ""},
		{"--version", 0, "bordo unknown\ngo", ""},
		{"help chekc", 2, "", `bordo: unknown command "chekc" (did you mean check?): see bordo help` + "\n"},
		{"chekc", 2, "", `bordo: unknown command "chekc" (did you mean check?): see bordo help` + "\n"},
		{"toast", 2, "", `bordo: unknown command "toast": see bordo help` + "\n"},
		{"run --confg x", 2, "", "bordo: run: unknown flag --confg (did you mean --config?): see bordo help run\n"},
		{"run -confg=x", 2, "", "bordo: run: unknown flag --confg (did you mean --config?): see bordo help run\n"},
		{"status --config x --jason", 2, "",
			"bordo: status: unknown flag --jason (did you mean --json?): see bordo help status\n"},
		{"status --json --verbose", 2, "", "bordo: status: unknown flag --verbose: see bordo help status\n"},
		{"check --config", 2, "", "bordo: check: --config needs a value: see bordo help check\n"},
		{"check --print=perhaps", 2, "",
			"bordo: check: --print: must be true or false (got \"perhaps\"): see bordo help check\n"},
		{"check bordo.yaml", 2, "", "bordo: check takes no \"bordo.yaml\": see bordo help check\n"},
		{"version --config x", 2, "", "bordo: version: unknown flag --config: see bordo help version\n"},
		{"run --log-level loud", 2, "", "want debug, info, warn or error: see bordo help run\n"},
		{"run --config /nowhere/bordo.yaml", 2, "",
			"bordo: read configuration: open /nowhere/bordo.yaml: no such file or directory\n"},
		{"check --config /nowhere/bordo.yaml", 2, "",
			"bordo: read configuration: open /nowhere/bordo.yaml: no such file or directory\n"},
		{"status --config /nowhere/bordo.yaml", 2, "",
			"bordo: read configuration: open /nowhere/bordo.yaml: no such file or directory\n"},
	} {
		t.Run(x.line, func(t *testing.T) {
			stdout, stderr, code := invoke(t, strings.Fields(x.line)...)
			if code != x.code {
				t.Errorf("exit code %d, want %d", code, x.code)
			}
			for _, s := range []struct{ name, got, want string }{{"stdout", stdout, x.stdout},
				{"stderr", stderr, x.stderr}} {
				if (s.want == "") != (s.got == "") || !strings.Contains(s.got, s.want) {
					t.Errorf("%s is %q, want %q in it", s.name, s.got, s.want)
				}
			}
		})
	}
}

// The sentences that the overview and a page are made of have no room for a command without words.
func TestEveryVerbHasAPage(t *testing.T) {
	overview, _, _ := invoke(t, "help")
	for _, v := range commands(english()) {
		if !strings.Contains(overview, v.name) || v.brief == "" {
			t.Errorf("%s is not in the overview", v.name)
		}
		page, _, code := invoke(t, "help", v.name)
		if code != 0 || !strings.Contains(page, v.text) || v.text == "" {
			t.Errorf("%s: page %q, exit code %d", v.name, page, code)
		}
	}
}

// write makes a configuration and returns its directory and its path.
func write(t *testing.T, text string) (dir, path string) {
	t.Helper()
	dir = t.TempDir()
	path = filepath.Join(dir, "bordo.yaml")
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(text, "DIR", dir)), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir, path
}

const sound = `version: 1
tenant: adda
node: rivolta
mqtt: {url: mqtts://broker.test}
control: {socket: DIR/run/b.sock}
buffer: {dir: DIR/store/buffer}
lines:
  - id: roof
    port: tcp://192.168.1.40:502
    devices: [{id: inv-1, model: sunspec, unit: 1}]
  - id: rs485-a
    port: serial:///dev/bordo/usb-1-2?baud=9600&parity=even
    devices: [{id: meter-1, model: eastron-sdm630, unit: 3}, {id: meter-2, model: eastron-sdm630, unit: 4}]
site: {lat: 45.4, lon: 9.7}
`

func TestCheckOfASoundFile(t *testing.T) {
	dir, path := write(t, sound)
	stdout, stderr, code := invoke(t, "check", "--config", path)
	if want := path + ": correct: 2 lines, 3 devices\n"; code != 0 || stdout != want {
		t.Errorf("got %q with exit code %d, want %q", stdout, code, want)
	}
	if want := "warning: " + path + ":13:36: lines[1].devices[0].model: eastron-sdm630 leaves the factory with "; !strings.HasPrefix(stderr, want) {
		t.Errorf("got %q, want %q", stderr, want)
	}
	stdout, _, code = invoke(t, "check", "--config", path, "--print")
	for _, want := range []string{"\nnode: \"rivolta\"\n", "  url: [\"mqtts://broker.test:8883\"]\n", "  window: 20\n",
		"        every: 10s\n"} {
		if code != 0 || !strings.Contains(stdout, want) {
			t.Errorf("exit code %d and no %q in\n%s", code, want, stdout)
		}
	}
	untouched(t, dir)
}

// A model of the site's own that does not say which alarm words are not filled is still taken, with a warning.
func TestCheckOfAnOlderModel(t *testing.T) {
	dir, path := write(t, sound+"profiles_dir: DIR/models\n")
	model := filepath.Join(dir, "models", "acme-ups.yaml")
	if err := os.Mkdir(filepath.Dir(model), 0o700); err != nil {
		t.Fatal(err)
	}
	const text = "schema: 1\nmodel: acme-ups\ntitle: T\nkind: ups\nverified: paper\nbus: baud=9600\npoints:\n" +
		"  - {point: alarm, at: holding:0, type: bits, length: 1, flags: {0: hot}}\n"
	if err := os.WriteFile(model, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	stdout, stderr, code := invoke(t, "check", "--config", path)
	if want := "profiles_dir: " + model + ":8:5: points[0].na: must state which pattern means \"no value\""; code != 0 || stdout == "" || !strings.Contains(stderr, want) {
		t.Errorf("exit code %d, printed %q and %q, want %q", code, stdout, stderr, want)
	}
}

// untouched tells whether there is more in dir than the configuration.
func untouched(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("the directory holds %v (%v)", entries, err)
	}
}

// A configuration with faults is refused by every command in the same words, and nothing is made.
func TestFaultsAreToldByEveryVerb(t *testing.T) {
	bad := strings.NewReplacer("unit: 3", "unit: 300", "tenant:", "tennant:", "id: meter-2", "id: inv-1").Replace(sound)
	dir, path := write(t, bad)
	want := strings.ReplaceAll(`PATH:1:1: tenant: is missing: the id of the customer, as in the topics
PATH:2:1: tennant: unknown key (did you mean tenant?)
PATH:13:58: lines[1].devices[0].unit: must be 1 to 247 (got 300)
PATH:13:69: lines[1].devices[1].id: is the id of another device already: lines[0].devices[0].id (PATH:10:20)
`, "PATH", path)
	for _, command := range []string{"check", "run", "status"} {
		stdout, stderr, code := invoke(t, command, "--config", path)
		if code != 2 || stdout != "" || stderr != want {
			t.Errorf("%s: exit code %d, printed %q and\n%swant\n%s", command, code, stdout, stderr, want)
		}
	}
	untouched(t, dir)
}

// Neither check nor run takes the sample as it is; both say which values are missing, in the language of the person.
func TestPlaceholdersAreRefused(t *testing.T) {
	sample, err := os.ReadFile("../../packaging/bordo.yaml")
	if err != nil {
		t.Fatal(err)
	}
	dir, path := write(t, strings.ReplaceAll(string(sample), "/var/lib/bordo", "DIR"))
	for _, command := range []string{"check", "run"} {
		_, stderr, code := invoke(t, command, "--config", path)
		if want := path + ":5:9: tenant: \"my-tenant\" stands for your own: write the tenant that the centre gave you\n"; code != 2 || !strings.HasPrefix(stderr, want) {
			t.Errorf("%s: exit code %d, %q", command, code, stderr)
		}
		if want := ": mqtt.url: \"broker.example:8883\" stands for your own: "; !strings.Contains(stderr, want) {
			t.Errorf("%s: no %q in %q", command, want, stderr)
		}
	}
	_, stderr, code := invoke(t, "check", "--config", path, "--lang", "it")
	if want := path + ":6:7: node: \"my-node\" è solo un esempio: scrivere il nome che il centro ha dato"; code != 2 ||
		!strings.Contains(stderr, want) {
		t.Errorf("exit code %d, no %q in %q", code, want, stderr)
	}
	untouched(t, dir)
}

// What is wrong with the YAML is said in the installer's language.
func TestFaultsOfYAMLInItalian(t *testing.T) {
	_, path := write(t, strings.Replace(sound, "tenant: ", "tenant:", 1))
	_, stderr, code := invoke(t, "check", "--config", path, "--lang", "it")
	want := path + ":2:1: manca uno spazio dopo i due punti: scrivere tenant: e poi il valore\n1 da correggere, "
	if code != 2 || !strings.HasPrefix(stderr, want) {
		t.Errorf("exit code %d, %q, want %q", code, stderr, want)
	}
}

// A blank at the end of a password is part of it, and check warns of it, as of the mark that editors of Windows write.
func TestCheckWarnsOfOddPasswords(t *testing.T) {
	dir, path := write(t, strings.Replace(sound, "broker.test}",
		"broker.test, username: u, password_file: DIR/password}", 1))
	if err := os.WriteFile(filepath.Join(dir, "password"), []byte("\ufeffsecret \r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for lang, want := range map[string][]string{
		"en": {"begins with a byte order mark", "ends with a blank, which is part of it"},
		"it": {"comincia con un BOM", "finisce con uno spazio, che ne fa parte"},
	} {
		_, stderr, code := invoke(t, "check", "--config", path, "--lang", lang)
		if code != 0 || !strings.Contains(stderr, want[0]) || !strings.Contains(stderr, want[1]) ||
			strings.Contains(stderr, "secret") {
			t.Errorf("exit code %d, %q", code, stderr)
		}
	}
}

func TestCheckReadsTheSecrets(t *testing.T) {
	dir, path := write(t, strings.Replace(sound, "broker.test}", "broker.test, username: u, password_file: DIR/none}",
		1))
	_, stderr, code := invoke(t, "check", "--config", path)
	if want := path + ":4:62: mqtt.password_file: read " + dir + "/none: no such file or directory\n"; code != 2 ||
		stderr != want {
		t.Errorf("got %q with exit code %d, want %q", stderr, code, want)
	}
	_, stderr, code = invoke(t, "check", "--config", path, "--lang", "it")
	if want := path + ":4:62: mqtt.password_file: manca il file " + dir + "/none\n"; code != 2 ||
		!strings.HasPrefix(stderr, want) {
		t.Errorf("got %q with exit code %d, want %q", stderr, code, want)
	}
	untouched(t, dir)
}

func TestStatusOfAnAgentThatDoesNotRun(t *testing.T) {
	dir, path := write(t, sound)
	for _, flags := range [][]string{nil, {"--json"}} {
		stdout, stderr, code := invoke(t, append([]string{"status", "--config", path}, flags...)...)
		want := "bordo: the agent does not run: nobody answers at " + dir + "/run/b.sock\nstart it with: systemctl start bordo, or: bordo run --config " + path
		if code != 1 || stdout != "" || !strings.HasPrefix(stderr, want) {
			t.Errorf("exit code %d, printed %q and %q", code, stdout, stderr)
		}
	}
	untouched(t, dir)
}
