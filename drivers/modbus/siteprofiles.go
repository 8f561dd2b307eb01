package modbus

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"bordo/drivers"
)

// maxSiteProfiles limits the number of profiles in a site's directory.
const maxSiteProfiles = 256

var _ drivers.Warned = (*Driver)(nil)

// WithModels returns the driver with the additional models in a directory. Each profile is a file
// <model>.yaml directly in dir; other files are ignored. A profile replaces an embedded one of the same name.
// The error is a Faults if files have faults.
func (d *Driver) WithModels(dir string) (*Driver, error) {
	others, err := LoadDir(dir)
	if err != nil {
		return nil, err
	}
	return d.with(others), nil
}

// Warnings implements drivers.Warned. It lists what the site's own profiles lack and the next release will
// require.
func (d *Driver) Warnings() []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(d.profiles)) {
		for _, w := range d.profiles[name].Warnings {
			out = append(out, w.Error())
		}
	}
	return out
}

// LoadDir loads a site's own profiles with the same strict loader as the embedded ones. They always count as
// unverified and never write: commands are removed and outputs are read-only. All faults of all files are
// reported at once.
func LoadDir(dir string) ([]*Profile, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read profiles: %w", err)
	}
	var out []*Profile
	var faults Faults
	for _, e := range entries {
		file := filepath.Join(dir, e.Name())
		if filepath.Ext(file) != ".yaml" || strings.HasPrefix(e.Name(), ".") || e.IsDir() {
			continue
		}
		if len(out) == maxSiteProfiles {
			return nil, fmt.Errorf("read profiles: more than %d in %s", maxSiteProfiles, dir)
		}
		p, err := loadSiteProfile(file)
		var wrong Faults
		switch {
		case errors.As(err, &wrong):
			faults = append(faults, wrong...)
		case err != nil:
			return nil, fmt.Errorf("read profiles: %w", err)
		default:
			out = append(out, p)
		}
	}
	if len(faults) > 0 {
		return nil, faults
	}
	return out, nil
}

func loadSiteProfile(file string) (*Profile, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if info.Mode().Type()&^fs.ModeSymlink != 0 || info.Size() > maxProfile {
		return nil, fmt.Errorf("%s: not a file of at most %d bytes", file, maxProfile)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	p, err := load(file, data, loadOther, true)
	if err != nil {
		return nil, err
	}
	if p.Model != strings.TrimSuffix(filepath.Base(file), ".yaml") {
		return nil, Faults{{File: file, Line: 1, Column: 1, Path: "model",
			Text: fmt.Sprintf("must be the file's name (got %q)", p.Model)}}
	}
	p.Verified, p.Commands = drivers.Unverified, nil
	for i := range p.Channels {
		p.Channels[i].Write = false
	}
	if p.SunSpec != nil {
		own := *p.SunSpec // the models may be shared with the profile they come from
		own.Models = slices.Clone(own.Models)
		for i := range own.Models {
			own.Models[i].Commands = nil
		}
		p.SunSpec = &own
	}
	return p, nil
}
