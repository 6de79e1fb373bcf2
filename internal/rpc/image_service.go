package rpc

import (
	"context"
	"errors"
	"io"

	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
	"github.com/sandgate/sandgate/sandbox"
)

// imageService serves sandgate.v1.ImageService.
type imageService struct {
	sandgatev1.UnimplementedImageServiceServer
	images sandbox.ImageStore
}

// ListImages implements ImageServiceServer.
func (i *imageService) ListImages(ctx context.Context, _ *sandgatev1.ListImagesRequest) (*sandgatev1.ListImagesResponse, error) {
	images, err := i.images.List(ctx)
	if err != nil {
		return nil, err
	}
	return &sandgatev1.ListImagesResponse{Images: imagesProto(images)}, nil
}

// ImportImage implements ImageServiceServer.
func (i *imageService) ImportImage(stream sandgatev1.ImageService_ImportImageServer) error {
	first, err := stream.Recv()
	if errors.Is(err, io.EOF) {
		return fieldError("name", "is missing: it is the first message")
	}
	if err != nil {
		return err
	}
	header, ok := first.GetPart().(*sandgatev1.ImportImageRequest_Name)
	if !ok {
		return fieldError("name", "is missing: it is the first message")
	}
	if err := checkImageName(header.Name, false); err != nil {
		return err
	}
	archive := &chunkReader{recv: func() ([]byte, bool, error) {
		msg, err := stream.Recv()
		_, ok := msg.GetPart().(*sandgatev1.ImportImageRequest_Data)
		return msg.GetData(), ok, err
	}}
	images, err := i.images.Import(stream.Context(), archive, header.Name)
	if archive.err != nil {
		return archive.err // the store knows only that its reader failed
	}
	if err != nil {
		return err
	}
	return stream.SendAndClose(&sandgatev1.ImportImageResponse{Images: imagesProto(images)})
}

// RemoveImage implements ImageServiceServer.
func (i *imageService) RemoveImage(ctx context.Context, req *sandgatev1.RemoveImageRequest) (*sandgatev1.RemoveImageResponse, error) {
	if err := checkImageName(req.GetName(), true); err != nil {
		return nil, err
	}
	if err := i.images.Remove(ctx, req.GetName()); err != nil {
		return nil, err
	}
	return &sandgatev1.RemoveImageResponse{}, nil
}

func checkImageName(name string, required bool) error {
	var c checker
	c.token("name", name, required, maxImageBytes, imageByte, "[A-Za-z0-9._:/@-]")
	if name == sandbox.HostImage {
		c.bad("name", "is %q: that is the machine itself; want another name", name)
	}
	return c.err()
}

func imagesProto(images []sandbox.Image) []*sandgatev1.Image {
	out := make([]*sandgatev1.Image, 0, len(images))
	for _, i := range images {
		out = append(out, &sandgatev1.Image{Name: validText(i.Name), Digest: i.Digest, SizeBytes: i.SizeBytes, CreateTime: timeProto(i.CreatedAt)})
	}
	return out
}
