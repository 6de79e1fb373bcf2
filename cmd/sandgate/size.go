package main

import "github.com/sandgate/sandgate/internal/config"

// sizeValue is a flag that takes a size as the daemon's configuration does: "64MiB",
// "1GiB", or a plain number of bytes.
type sizeValue struct{ to *int64 }

// Set implements pflag.Value.
func (v sizeValue) Set(text string) error {
	b, err := config.ParseBytes(text)
	if err != nil {
		return err
	}
	*v.to = b.Int64()
	return nil
}

// String implements pflag.Value.
func (v sizeValue) String() string {
	if v.to == nil || *v.to == 0 {
		return "" // the help shows no default then
	}
	return config.Bytes(*v.to).String()
}

// Type implements pflag.Value.
func (sizeValue) Type() string { return "size" }

// sizeText is a size in the largest unit of which it is a whole number, so that a flag
// takes it.
func sizeText(n int64) string { return config.Bytes(n).String() }
