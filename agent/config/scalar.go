package config

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"

	"bordo/contract"
)

// form is what YAML took a scalar for.
type form uint8

const (
	words   form = iota // text, quoted or not
	number              // whole or decimal, in any notation
	truth               // true or false
	nothing             // null, or no scalar at all
)

// scalar is a single value with its text in the file.
type scalar struct {
	form form
	text string
}

func scalarOf(n ast.Node) scalar {
	switch n := n.(type) {
	case *ast.StringNode:
		return scalar{words, n.Value}
	case *ast.LiteralNode:
		return scalar{words, strings.TrimRight(n.Value.Value, "\n")}
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return scalar{number, n.GetToken().Value}
	case *ast.BoolNode:
		return scalar{truth, n.GetToken().Value}
	}
	return scalar{form: nothing}
}

// quote shows a text of the file to a person.
func quote(s string) string { return strconv.Quote(clip(s)) }

// printable keeps a sentence on one line.
func printable(s string) string {
	return strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) {
			return '.'
		}
		return c
	}, s)
}

// clip shortens what would fill the screen.
func clip(s string) string {
	const most = 60
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:most]) + "..."
}

// got shows the text in the file.
func got(s scalar) string {
	switch s.form {
	case words:
		return quote(s.text)
	case nothing:
		return "nothing"
	}
	return clip(s.text)
}

// commaNumber matches a number, with its unit, in the Italian notation with a comma.
var commaNumber = regexp.MustCompile(`^[+-]?[0-9]+,[0-9]+[a-zA-Z/]*$`)

// read puts the value of a key into target when it is given and right. It is false when target was left as it was.
func read[T any](v value, target *T, parse func(scalar) (T, error)) bool {
	if !v.given() || !v.filled() {
		return false
	}
	s := scalarOf(v.node)
	if s.form == nothing {
		v.fault("must be a single value (got %s)", kind(v.node))
		return false
	}
	x, err := parse(s)
	if err != nil && commaNumber.MatchString(s.text) {
		en, it := pointWords("", strings.Replace(s.text, ",", ".", 1))
		v.r.faultIn(v.at, v.path, fmt.Sprintf("%s: %s", err, en), it)
		return false
	}
	if err != nil {
		v.fault("%s", err)
		return false
	}
	*target = x
	return true
}

// id accepts the name of a tenant, node, line or device. These appear in topics, so the contract defines them.
func id(s scalar) (string, error) {
	if s.form == truth || contract.CheckID(s.text) != nil {
		return "", fmt.Errorf("must be 1 to 48 of a-z, 0-9 and -, not beginning with - (%s)", gotLower(s, contract.CheckID))
	}
	return s.text, nil
}

// gotLower shows the text in the file and, where only capital letters are wrong with it, what to write instead.
func gotLower(s scalar, check func(string) error) string {
	if lower := strings.ToLower(s.text); s.form == words && lower != s.text && check(lower) == nil {
		return fmt.Sprintf("got %s, write %s", got(s), lower)
	}
	return "got " + got(s)
}

// text accepts any printable text, as written.
func text(s scalar) (string, error) {
	switch {
	case s.form == truth:
		return "", fmt.Errorf("must be text: put it in quotes (got %s)", got(s))
	case s.text == "":
		return "", errors.New("must not be empty")
	case utf8.RuneCountInString(s.text) > MaxText:
		return "", fmt.Errorf("must have at most %d characters (got %d)", MaxText, utf8.RuneCountInString(s.text))
	case strings.ContainsFunc(s.text, unicode.IsControl):
		return "", fmt.Errorf("must be one line of printable characters (got %s)", got(s))
	}
	return s.text, nil
}

func path(s scalar) (string, error) {
	p, err := text(s)
	if err != nil {
		return "", err
	}
	if !filepath.IsAbs(p) {
		return "", fmt.Errorf("must be a full path, beginning with / (got %s)", got(s))
	}
	return filepath.Clean(p), nil
}

func boolean(s scalar) (bool, error) {
	if s.form != truth {
		return false, fmt.Errorf("must be true or false (got %s)", got(s))
	}
	return strings.EqualFold(s.text, "true"), nil
}

// whole takes an integer in plain decimal.
func whole(lo, hi int) func(scalar) (int, error) {
	return func(s scalar) (int, error) {
		n, err := strconv.Atoi(s.text)
		if s.form != number || err != nil || strconv.Itoa(n) != s.text {
			return 0, fmt.Errorf("must be a whole number, %s (got %s)", between(lo, hi), got(s))
		}
		if n < lo || n > hi {
			return 0, fmt.Errorf("must be %s (got %d)", between(lo, hi), n)
		}
		return n, nil
	}
}

func decimal(lo, hi float64, unit string) func(scalar) (float64, error) {
	return func(s scalar) (float64, error) {
		f, err := strconv.ParseFloat(s.text, 64)
		if s.form != number || err != nil || !(f >= lo && f <= hi) {
			return 0, fmt.Errorf("must be %g to %g %s (got %s)", lo, hi, unit, got(s))
		}
		return f, nil
	}
}

func oneOf[T ~string](allowed ...T) func(scalar) (T, error) {
	return func(s scalar) (T, error) {
		if s.form != words || !slices.Contains(allowed, T(s.text)) {
			names := make([]string, len(allowed))
			for i, a := range allowed {
				names[i] = string(a)
			}
			return "", fmt.Errorf("must be %s (got %s)", strings.Join(names, " or "), got(s))
		}
		return T(s.text), nil
	}
}

func duration(lo, hi time.Duration) func(scalar) (time.Duration, error) {
	return func(s scalar) (time.Duration, error) {
		d, err := time.ParseDuration(s.text)
		if s.form != words || err != nil {
			return 0, fmt.Errorf("must be a duration such as 500ms, 10s or 5m (got %s)", got(s))
		}
		if d < lo || d > hi {
			return 0, fmt.Errorf("must be %s to %s (got %s)", span(lo), span(hi), s.text)
		}
		return d, nil
	}
}

// span writes a duration as a person does: 5m rather than 5m0s.
func span(d time.Duration) string {
	if d == 0 {
		return "0s"
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

var sizeForm = regexp.MustCompile(`^([0-9]{1,12})(KiB|MiB|GiB)$`)

// bytesOf reads 64MiB; a bare 0 needs no unit.
func bytesOf(s string) (int64, bool) {
	if s == "0" {
		return 0, true
	}
	m := sizeForm.FindStringSubmatch(s)
	if m == nil {
		return 0, false
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	return n << map[string]int{"KiB": 10, "MiB": 20, "GiB": 30}[m[2]], err == nil && n < 1<<33
}

// sizeText is the shortest text that bytesOf reads back.
func sizeText(n int64) string {
	for _, u := range []struct {
		shift int
		name  string
	}{{30, "GiB"}, {20, "MiB"}, {10, "KiB"}} {
		if n != 0 && n&(1<<u.shift-1) == 0 {
			return strconv.FormatInt(n>>u.shift, 10) + u.name
		}
	}
	return strconv.FormatInt(n, 10)
}

func size(lo, hi int64) func(scalar) (int64, error) {
	return func(s scalar) (int64, error) {
		n, ok := bytesOf(s.text)
		if !ok {
			return 0, fmt.Errorf("must be a size such as 64MiB, in KiB, MiB or GiB (got %s)", got(s))
		}
		if n < lo || n > hi {
			return 0, fmt.Errorf("must be %s to %s (got %s)", sizeText(lo), sizeText(hi), s.text)
		}
		return n, nil
	}
}

func perSecond(lo, hi float64) func(scalar) (float64, error) {
	return func(s scalar) (float64, error) {
		n, ok := strings.CutSuffix(s.text, "/s")
		f, err := strconv.ParseFloat(n, 64)
		if !ok || err != nil || !(f >= lo && f <= hi) {
			return 0, fmt.Errorf("must be %g/s to %g/s (got %s)", lo, hi, got(s))
		}
		return f, nil
	}
}

func bytesPerSecond(lo, hi int64) func(scalar) (int64, error) {
	return func(s scalar) (int64, error) {
		size, ok := strings.CutSuffix(s.text, "/s")
		n, fits := bytesOf(size)
		if !ok || !fits || n < lo || n > hi {
			return 0, fmt.Errorf("must be %s/s to %s/s, in KiB/s, MiB/s or GiB/s (got %s)", sizeText(lo), sizeText(hi), got(s))
		}
		return n, nil
	}
}

// topicRoot accepts the first part of every topic, by the contract's rule: no agent can start with what it refuses.
func topicRoot(s scalar) (string, error) {
	if s.form == truth || contract.CheckRoot(s.text) != nil {
		return "", fmt.Errorf("must be one to three levels with / between them, each 1 to 48 of a-z, 0-9 and -, not beginning with - (%s)",
			gotLower(s, contract.CheckRoot))
	}
	return s.text, nil
}

// brokerForm is what the URL of a broker must look like.
const brokerForm = "must be mqtts://HOST:PORT or mqtt://HOST:PORT"

func broker(s scalar) (*url.URL, error) {
	if s.form != words {
		return nil, fmt.Errorf(brokerForm+" (got %s)", got(s))
	}
	return BrokerURL(s.text)
}

// BrokerURL reads mqtt://HOST[:1883] or mqtts://HOST[:8883]; the result always has a port. It refuses everything else
// that a URL can contain: above all a password, which would appear in logs and process lists.
func BrokerURL(text string) (*url.URL, error) {
	const want = brokerForm
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, errors.New(want + " (got something that is no URL)")
	case u.User != nil:
		return nil, errors.New(want + ": name and password go into username and password_file")
	case u.Scheme != "mqtt" && u.Scheme != "mqtts":
		return nil, fmt.Errorf(want+" (got %s)", quote(text))
	case u.Hostname() == "" || strings.ContainsFunc(u.Hostname(), unicode.IsSpace):
		return nil, fmt.Errorf(want+": the host is missing (got %s)", quote(text))
	case u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf(want+" and nothing after it (got %s)", quote(text))
	}
	port := map[string]string{"mqtt": "1883", "mqtts": "8883"}[u.Scheme]
	if p := u.Port(); p != "" {
		port = p
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return nil, fmt.Errorf("port must be 1 to 65535 (got %s)", quote(port))
	}
	return &url.URL{Scheme: u.Scheme, Host: net.JoinHostPort(strings.ToLower(u.Hostname()), port)}, nil
}

// zone loads a time zone by its IANA name.
func zone(s scalar) (*time.Location, error) {
	if s.form == words && s.text != "" && s.text != "Local" {
		if l, err := time.LoadLocation(s.text); err == nil {
			return l, nil
		}
		if _, err := time.LoadLocation("Europe/Rome"); err != nil {
			return nil, fmt.Errorf("no time zone is known to this machine: install the package tzdata, or use UTC (got %s)", got(s))
		}
	}
	return nil, fmt.Errorf("must be a time zone by its IANA name, such as Europe/Rome or UTC (got %s)", got(s))
}

func between(lo, hi int) string {
	if lo == hi {
		return strconv.Itoa(lo)
	}
	return fmt.Sprintf("%d to %d", lo, hi)
}
