"""What a collection is, local or remote: the protocol and the checks of what callers hand in. Needs neither SQL nor
gRPC."""
