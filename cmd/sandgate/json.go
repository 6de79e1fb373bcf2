package main

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// plainJSON makes of a message what scripts like to read: snake_case names,
// numbers as numbers, enums without their prefix, durations in milliseconds
// under NAME_ms, bytes as text where they are UTF-8 and as NAME_base64 where
// they are not, text NAME_json that holds JSON as that under NAME. Unset messages and empty text and lists are left out.
func plainJSON(m proto.Message) map[string]any {
	return plainMessage(m.ProtoReflect())
}

func plainMessage(m protoreflect.Message) map[string]any {
	out := map[string]any{}
	fields := m.Descriptor().Fields()
	demand := m.Descriptor().FullName() == "sandgate.v1.SandboxObligations"
	for i := range fields.Len() {
		fd := fields.Get(i)
		name := string(fd.Name())
		v := m.Get(fd)
		switch {
		case fd.HasPresence() && !m.Has(fd):
		case fd.IsList():
			if v.List().Len() > 0 {
				list := make([]any, v.List().Len())
				for j := range list {
					_, list[j] = plainValue(name, fd, v.List().Get(j))
				}
				out[name] = list
			}
		case fd.IsMap():
			if v.Map().Len() > 0 {
				entries := map[string]any{}
				v.Map().Range(func(k protoreflect.MapKey, e protoreflect.Value) bool {
					_, entries[k.String()] = plainValue(name, fd.MapValue(), e)
					return true
				})
				out[name] = entries
			}
		case demand && !m.Has(fd): // zero is no demand
		case fd.Kind() == protoreflect.StringKind && v.String() == "", fd.Kind() == protoreflect.BytesKind && len(v.Bytes()) == 0:
		default:
			key, value := plainValue(name, fd, v)
			out[key] = value
		}
	}
	return out
}

// plainValue returns a value and the name to put it under.
func plainValue(name string, fd protoreflect.FieldDescriptor, v protoreflect.Value) (string, any) {
	if short, ok := strings.CutSuffix(name, "_json"); ok && json.Valid([]byte(v.String())) {
		return short, json.RawMessage(v.String())
	}
	switch fd.Kind() { //nolint:exhaustive // the others are what JSON has
	case protoreflect.EnumKind:
		return name, enumName(fd.Enum(), v.Enum())
	case protoreflect.BytesKind:
		if utf8.Valid(v.Bytes()) {
			return name, string(v.Bytes())
		}
		return name + "_base64", base64.StdEncoding.EncodeToString(v.Bytes())
	case protoreflect.MessageKind:
		switch m := v.Message().Interface().(type) {
		case *durationpb.Duration:
			return name + "_ms", float64(m.AsDuration().Microseconds()) / 1000
		case *timestamppb.Timestamp:
			return name, m.AsTime().Format("2006-01-02T15:04:05.000Z07:00")
		case *structpb.Struct:
			return name, m.AsMap()
		}
		return name, plainMessage(v.Message())
	}
	return name, v.Interface()
}

// enumName is the name of a value without the prefix that all of its enum have.
func enumName(ed protoreflect.EnumDescriptor, n protoreflect.EnumNumber) string {
	vd := ed.Values().ByNumber(n)
	if vd == nil {
		return "UNKNOWN"
	}
	prefix := strings.TrimSuffix(string(ed.Values().ByNumber(0).Name()), "UNSPECIFIED")
	return strings.TrimPrefix(string(vd.Name()), prefix)
}
