"""The wire, version 1: protobuf definitions and the code generated from them (`make generate`)."""
