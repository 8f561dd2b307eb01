package modbus

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"bordo/drivers/catalogue"
	"bordo/drivers/nearest"
)

// unknownKeys reports every key below node that typ does not have, with the key that was probably meant or
// else all known keys.
func unknownKeys(file string, node ast.Node, typ reflect.Type, path string) (faults Faults) {
	for typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	switch n := node.(type) {
	case *ast.SequenceNode:
		for i, v := range n.Values {
			if typ.Kind() == reflect.Slice {
				faults = append(faults, unknownKeys(file, v, typ.Elem(), fmt.Sprintf("%s[%d]", path, i))...)
			}
		}
	case *ast.MappingValueNode:
		return unknownKeysIn(file, []*ast.MappingValueNode{n}, typ, path)
	case *ast.MappingNode:
		return unknownKeysIn(file, n.Values, typ, path)
	}
	return faults
}

func unknownKeysIn(file string, values []*ast.MappingValueNode, typ reflect.Type, path string) (faults Faults) {
	if typ.Kind() != reflect.Struct {
		return nil // a map: the keys are free
	}
	var names []string
	types := map[string]reflect.Type{}
	visitKeys(typ, func(key string, t reflect.Type) {
		names = append(names, key)
		types[key] = t
	})
	for _, v := range values {
		key := v.Key.GetToken().Value
		at := strings.TrimPrefix(path+"."+key, ".")
		if t, ok := types[key]; ok {
			faults = append(faults, unknownKeys(file, v.Value, t, at)...)
			continue
		}
		f := Fault{File: file, Path: at, Text: "unknown key (known here: " + strings.Join(names, ", ") + ")"}
		if near := nearest.Names(key, names, 1); len(near) > 0 {
			f.Text = "unknown key (did you mean " + near[0] + "?)"
		}
		f.Line, f.Column = v.Key.GetToken().Position.Line, v.Key.GetToken().Position.Column
		faults = append(faults, f)
	}
	return faults
}

// visitKeys calls visit for the YAML keys of a type of this package, including those of inlined fields.
func visitKeys(typ reflect.Type, visit func(key string, t reflect.Type)) {
	for i := range typ.NumField() {
		f := typ.Field(i)
		key, option, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if option == "inline" {
			visitKeys(f.Type, visit)
		} else {
			visit(key, f.Type)
		}
	}
}

// similarPoints suggests points of the catalogue for a misspelt or unknown key: one or two with a similar
// spelling, then those that share words with it.
func similarPoints(key string) string {
	const few = 4
	words := strings.Split(key, "_")
	all := make([]string, 0, len(catalogue.Points()))
	for _, p := range catalogue.Points() {
		all = append(all, p.Key)
	}
	shared := func(point string) float64 { // share of words that both keys contain
		own, n := strings.Split(point, "_"), 0
		for _, w := range own {
			if slices.Contains(words, w) {
				n++
			}
		}
		return 2 * float64(n) / float64(len(own)+len(words))
	}
	near := nearest.Names(key, all, 2)
	slices.SortStableFunc(all, func(a, b string) int { return cmp.Compare(shared(b), shared(a)) })
	for _, point := range all {
		if len(near) < few && shared(point) > 0 && !slices.Contains(near, point) {
			near = append(near, point)
		}
	}
	if len(near) == 0 {
		return ""
	}
	return ", such as " + strings.Join(near, ", ")
}
