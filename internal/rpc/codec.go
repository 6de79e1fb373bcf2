package rpc

import (
	"unicode/utf8"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto" // registers the codec, too
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	protobuf "google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// malformedField is an unknown field number under which codec leaves the path
// of the undecodable field in the empty message that it hands on. gRPC itself
// would answer INTERNAL before any interceptor sees the request; so it becomes
// INVALID_ARGUMENT with the name of the field. A client that sends this field
// itself gets just that error.
const malformedField protowire.Number = 536870911

// codec is gRPC's proto codec but for what it does with undecodable requests and
// with output, which it does not copy.
type codec struct{ encoding.CodecV2 }

func newCodec() codec { return codec{encoding.GetCodecV2(proto.Name)} }

// Marshal implements encoding.CodecV2.
func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	if out, ok := v.(*outputMessage); ok {
		return out.encode(), nil
	}
	if r, field := largeResultOf(v); r != nil {
		return encodeResult(r, field)
	}
	return c.CodecV2.Marshal(v)
}

// Unmarshal implements encoding.CodecV2.
func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	err := c.CodecV2.Unmarshal(data, v)
	m, ok := v.(protobuf.Message)
	if err == nil || !ok {
		return err
	}
	protobuf.Reset(m)
	raw := protowire.AppendTag(nil, malformedField, protowire.BytesType)
	path := badText(m.ProtoReflect().Descriptor(), data.Materialize(), "")
	m.ProtoReflect().SetUnknown(protowire.AppendString(raw, path))
	return nil
}

// malformed returns the error that codec left in a message, or nil.
func malformed(v any) error {
	m, ok := v.(protobuf.Message)
	if !ok {
		return nil
	}
	unknown := m.ProtoReflect().GetUnknown()
	num, typ, n := protowire.ConsumeTag(unknown)
	if n < 0 || num != malformedField || typ != protowire.BytesType {
		return nil
	}
	path, n := protowire.ConsumeString(unknown[n:])
	if n <= 0 || path == "" {
		return fieldError("", "request cannot be decoded: want a message of sandgate.v1")
	}
	return fieldError(clip(validText(path)), "is not UTF-8: want UTF-8 text")
}

// badText finds the first string in an encoded message that is not UTF-8 and
// returns the path of its field, "call.tool"; empty when there is none before
// the encoding breaks. It goes as deep as the message types do, which are not
// recursive.
func badText(md protoreflect.MessageDescriptor, data []byte, prefix string) string {
	for len(data) > 0 {
		num, typ, n := protowire.ConsumeTag(data)
		if n < 0 {
			return ""
		}
		data = data[n:]
		size := protowire.ConsumeFieldValue(num, typ, data)
		if size < 0 {
			return ""
		}
		if fd := md.Fields().ByNumber(num); fd != nil && typ == protowire.BytesType {
			value, _ := protowire.ConsumeBytes(data)
			path := prefix + string(fd.Name())
			switch {
			case fd.Kind() == protoreflect.StringKind && !utf8.Valid(value):
				return path
			case fd.IsMap():
				if badText(fd.Message(), value, "") != "" {
					return path
				}
			case fd.Kind() == protoreflect.MessageKind:
				if found := badText(fd.Message(), value, path+"."); found != "" {
					return found
				}
			}
		}
		data = data[size:]
	}
	return ""
}
