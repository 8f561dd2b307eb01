package config

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// slip is a typing error that the YAML parser reports in unhelpful words, or at an unhelpful position.
type slip struct {
	at     Place
	en, it string
	typo   bool // never correct in a configuration, even where the parser accepts it
}

// lint searches the lines of an invalid configuration for common errors of people who type YAML on a phone or in a
// Windows editor. It runs only once a text has faults: it does not understand text blocks and values over several
// lines.
func lint(text string) []slip {
	var found []slip
	var levels levels
	n := 0
	for l := range strings.Lines(text) {
		n++
		code := codeOf(strings.TrimRight(l, " \r\n"))
		if strings.TrimSpace(code) == "" {
			continue
		}
		s, ok := lintLine(code)
		if !ok {
			s, ok = levels.next(code)
		}
		if ok {
			s.at.Line = n
			found = append(found, s)
		}
	}
	return found
}

// codeOf blanks out comments and the content of quotes, so that keys, signs and plain values remain. Columns stay the
// same.
func codeOf(line string) string {
	out := []rune(line)
	quote, at := rune(0), 0
	for i, c := range out {
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
		case c == '#' && (i == 0 || out[i-1] == ' '):
			return string(out[:i])
		case (c == '"' || c == '\'') && (i == 0 || strings.ContainsRune(" {[,", out[i-1])):
			quote, at = c, i
		}
	}
	if quote != 0 {
		return string(out[:at]) + string(quote) // left open: lintLine says so
	}
	return quotedText.ReplaceAllStringFunc(string(out), func(s string) string { return s[:1] + strings.Repeat("x", len([]rune(s))-2) + s[:1] })
}

var quotedText = regexp.MustCompile(`"(?:[^"\\]|\\.)*"|'[^']*'`)

// Shapes of lines. A key is a word of the format, at the beginning of a line, after a dash, or in braces.
var (
	noBlankAfterColon = regexp.MustCompile(`(?:^\s*|^\s*-\s+|[{,]\s*)([a-z_]+):(/[^/]|[^\s/,}:])`)
	noBlankAfterDash  = regexp.MustCompile(`^\s*-([a-z_]+:|[{\[])`)
	equalsSign        = regexp.MustCompile(`^\s*(?:-\s+)?([a-z_]+)\s*=`)
	noColon           = regexp.MustCompile(`^\s*(?:-\s+)?([a-z_]+)\s+[^:{}\[\]=]+$`)
	noComma           = regexp.MustCompile(`[{,][^,{}\[\]]*:\s+[^,{}\[\]]*\s([a-z_]+):\s`)
	openQuote         = regexp.MustCompile(`["']$`)
)

// lintLine looks at one line by itself.
func lintLine(code string) (slip, bool) {
	for i, c := range []rune(code) {
		at := Place{Column: i + 1}
		first := strings.TrimSpace(string([]rune(code)[:i])) == ""
		switch {
		case c == '\u00a0' || c == '\u2007' || c == '\u202f' || c == '\u3000':
			return slip{at, "this is no ordinary blank but one that web pages and messages have (U+" + fmt.Sprintf("%04X", c) + "): delete it and type a blank",
				"questo non è uno spazio normale ma quello di pagine web e messaggi (U+" + fmt.Sprintf("%04X", c) + "): cancellarlo e scrivere uno spazio", true}, true
		case strings.ContainsRune("“”„‘’«»", c):
			return slip{at, fmt.Sprintf("typographic quotes (%c) are ordinary letters here: type \"", c),
				fmt.Sprintf("le virgolette tipografiche (%c) qui sono lettere come le altre: scrivere \"", c), true}, true
		case first && strings.ContainsRune("–—−•", c):
			return slip{at, fmt.Sprintf("this is no hyphen (%c): an element of a list begins with - and a blank", c),
				fmt.Sprintf("questo non è un trattino semplice (%c): un elemento di una lista comincia con - e uno spazio", c), true}, true
		}
	}
	column := func(i int) Place { return Place{Column: len([]rune(code[:i])) + 1} }
	if m := noBlankAfterDash.FindStringSubmatchIndex(code); m != nil {
		return slip{column(m[2]), "a blank is missing after the dash: - " + code[m[2]:m[3]], "manca uno spazio dopo il trattino: - " + code[m[2]:m[3]], false}, true
	}
	if m := noBlankAfterColon.FindStringSubmatchIndex(code); m != nil {
		key := code[m[2]:m[3]]
		return slip{column(m[2]), fmt.Sprintf("a blank is missing after the colon: write %s: and then the value", key),
			fmt.Sprintf("manca uno spazio dopo i due punti: scrivere %s: e poi il valore", key), false}, true
	}
	if m := equalsSign.FindStringSubmatchIndex(code); m != nil {
		key := code[m[2]:m[3]]
		return slip{column(m[2]), fmt.Sprintf("a colon and a blank are needed, not = : write %s: and then the value", key),
			fmt.Sprintf("servono due punti e uno spazio, non = : scrivere %s: e poi il valore", key), false}, true
	}
	if m := noComma.FindStringSubmatchIndex(code); m != nil {
		key := code[m[2]:m[3]]
		return slip{column(m[2]), fmt.Sprintf("a comma is missing before %s", key), fmt.Sprintf("manca una virgola prima di %s", key), true}, true
	}
	if m := openQuote.FindStringIndex(code); m != nil && code[m[0]] == '\'' && strings.Count(code, "'") > 1 {
		return slip{column(strings.IndexByte(code, '\'')), "an apostrophe ends a text in single quotes: put the text into double quotes",
			"un apostrofo chiude un testo fra apici: mettere il testo fra virgolette doppie", false}, true
	}
	if m := openQuote.FindStringIndex(code); m != nil && strings.Count(code, code[m[0]:])%2 == 1 {
		return slip{column(m[0]), "the quotes that begin here are not closed on this line: put " + code[m[0]:] + " behind the value",
			"le virgolette aperte qui non sono chiuse su questa riga: mettere " + code[m[0]:] + " dopo il valore", false}, true
	}
	if m := noColon.FindStringSubmatchIndex(code); m != nil {
		key := code[m[2]:m[3]]
		return slip{column(m[2]), fmt.Sprintf("a colon is missing: write %s: and then the value", key),
			fmt.Sprintf("mancano i due punti: scrivere %s: e poi il valore", key), false}, true
	}
	return slip{}, false
}

// levels follows the indentation of block mappings and lists.
type levels struct {
	columns []int // of the keys of each mapping that is open, the outermost first
	opens   bool  // the last key has no value on its line, so what follows may be deeper
	flow    int   // open brackets: their lines may begin anywhere
}

var keyLine = regexp.MustCompile(`^(\s*)(-\s+)?("?[A-Za-z_0-9-]+"?:)(\s+(.*))?$`)

// next takes a line, and says when its beginning is in a column where none may be.
func (v *levels) next(code string) (slip, bool) {
	inside := v.flow > 0
	v.flow = max(0, v.flow+strings.Count(code, "{")+strings.Count(code, "[")-strings.Count(code, "}")-strings.Count(code, "]"))
	m := keyLine.FindStringSubmatch(code)
	if inside || m == nil {
		v.opens = v.opens || strings.HasPrefix(strings.TrimSpace(code), "-")
		return slip{}, false
	}
	indent, dash := len(m[1]), len(m[2])
	column := indent + dash // of the key
	opens := v.opens
	v.opens = strings.TrimSpace(m[5]) == ""
	for len(v.columns) > 0 && indent < v.columns[len(v.columns)-1] && !slices.Contains(v.columns, indent) && dash == 0 {
		break // in no column that is open: a fault
	}
	at := Place{Column: indent + 1}
	switch {
	case len(v.columns) == 0:
		v.columns = []int{column}
	case dash > 0:
		for len(v.columns) > 1 && v.columns[len(v.columns)-1] > indent {
			v.columns = v.columns[:len(v.columns)-1]
		}
		v.columns = append(v.columns, column)
	case indent > v.columns[len(v.columns)-1]:
		if !opens {
			return wrongColumn(at, v.columns), true
		}
		v.columns = append(v.columns, column)
	case slices.Contains(v.columns, indent):
		for v.columns[len(v.columns)-1] > indent {
			v.columns = v.columns[:len(v.columns)-1]
		}
	default:
		return wrongColumn(at, v.columns), true
	}
	return slip{}, false
}

// wrongColumn names the nearest column in which a key of this place may begin.
func wrongColumn(at Place, open []int) slip {
	nearest := 0
	for _, c := range slices.Backward(open) { // of two that are as near, the inner one
		if distance := func(c int) int { return max(c-at.Column, at.Column-c) }; nearest == 0 || distance(c+1) < distance(nearest) {
			nearest = c + 1
		}
	}
	return slip{at, fmt.Sprintf("the indentation is wrong: keys of one level begin in the same column (this one in %d instead of %d)", at.Column, nearest),
		fmt.Sprintf("rientro sbagliato: le chiavi dello stesso livello cominciano nella stessa colonna (qui %d invece di %d)", at.Column, nearest), false}
}

// plainWords translates what the parser says, where lint found nothing.
func plainWords(message string) (en, it string) {
	for _, w := range [...]struct{ said, en, it string }{
		{"double-quoted text", "the quotes that begin here are never closed: put \" behind the value", "le virgolette aperte qui non vengono mai chiuse: mettere \" dopo il valore"},
		{"single-quoted text", "the quotes that begin here are never closed: put ' behind the value", "le virgolette aperte qui non vengono mai chiuse: mettere ' dopo il valore"},
		{"unknown escape character", "a \\ in double quotes begins a sign: write \\\\, or put the value into single quotes",
			"un \\ fra virgolette doppie comincia un segno: scrivere \\\\, o mettere il valore fra apici '"},
		{"'}'", "a } is missing here or in the line before, or a comma between two keys in braces",
			"manca una } qui o nella riga prima, o una virgola fra due chiavi nelle parentesi graffe"},
		{"flow mapping end", "a } is missing", "manca una }"},
		{"']'", "a ] is missing here or in the line before, or a comma between two elements in brackets",
			"manca una ] qui o nella riga prima, o una virgola fra due elementi nelle parentesi quadre"},
		{"flow sequence end", "a ] is missing", "manca una ]"},
		{"reserved character", "a value cannot begin with this sign: put it in quotes", "un valore non può cominciare con questo segno: metterlo fra virgolette"},
		{"mapping value is not allowed", "there is a second colon on this line, or the next line is indented wrongly: put a text with a colon in quotes, and begin keys of one level in the same column",
			"c'è un secondo «due punti» su questa riga, o la riga dopo ha un rientro sbagliato: mettere fra virgolette un testo con i due punti, e cominciare le chiavi dello stesso livello nella stessa colonna"},
		{"value is not allowed", "this does not belong here: look at the indentation and at the brackets of this line and the one before",
			"questo qui non va: guardare il rientro e le parentesi di questa riga e di quella prima"},
		{"non-map value", "a line must be a key, a colon, a blank and a value", "una riga deve essere una chiave, due punti, uno spazio e un valore"},
		{"unexpected key name", "a line must be a key, a colon, a blank and a value", "una riga deve essere una chiave, due punti, uno spazio e un valore"},
	} {
		if strings.Contains(message, w.said) {
			return w.en, w.it
		}
	}
	return "not YAML: " + printable(message), "non è YAML: " + printable(message)
}
