"""A gRPC client that knows nothing of the server but its address: it learns every message by server reflection.

The reply goes to standard output as JSON, with the field names of the proto files and with fields that have their
default value. A gRPC error is JSON too, {"code", "message", "details"}, with exit code 1. Whatever else goes wrong is
told on standard error, with exit code 2 for the command line and 3 for the rest.
"""

import argparse
import base64
import json
import sys
import traceback

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from google.rpc import error_details_pb2  # noqa: F401  its import makes the details readable
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from grpc_status import rpc_status

GRPC_ERROR = 1
BROKEN = 3

# Both versions have the same messages, so one set of generated code speaks both.
REFLECTION = ["grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"]


class Unusable(Exception):
    """What was asked for does not fit the server's API."""


class Reflection:
    """The server's own description of its API."""

    def __init__(self, channel, timeout):
        self.channel = channel
        self.timeout = timeout
        self.pool = descriptor_pool.DescriptorPool()
        self.known = set()
        self.service = None

    def method(self, service, method):
        """The descriptor of one method."""
        self._add(self._files(file_containing_symbol=service))
        try:
            return self.pool.FindServiceByName(service).methods_by_name[method]
        except KeyError:
            raise Unusable(f"`{service}` has no method `{method}`") from None

    def _add(self, files):
        """Adds files to the pool, what they import first."""
        here = {file.name: file for file in files}
        for file in files:
            if file.name in self.known:
                continue
            self.known.add(file.name)
            for name in file.dependency:
                if name not in self.known:
                    self._add([here[name]] if name in here else self._files(file_by_filename=name))
            self.pool.Add(file)

    def _files(self, **question):
        reply = self._ask(reflection_pb2.ServerReflectionRequest(**question))
        if reply.HasField("error_response"):
            raise Unusable(f"reflection knows no {question}: {reply.error_response.error_message}")
        return [
            descriptor_pb2.FileDescriptorProto.FromString(file)
            for file in reply.file_descriptor_response.file_descriptor_proto
        ]

    def _ask(self, request):
        for service in [self.service] if self.service else REFLECTION:
            call = self.channel.stream_stream(
                f"/{service}/ServerReflectionInfo",
                request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
                response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
            )
            try:
                reply = next(call(iter([request]), timeout=self.timeout))
                self.service = service
                return reply
            except grpc.RpcError as error:
                if error.code() != grpc.StatusCode.UNIMPLEMENTED or service == REFLECTION[-1]:
                    raise


def call(channel, target, request, metadata, timeout):
    """Calls one unary method with a request and a reply as JSON values."""
    service, _, name = target.partition("/")
    method = Reflection(channel, timeout).method(service, name)
    if method.client_streaming or method.server_streaming:
        raise Unusable(f"`{target}` is a streaming method, and this client makes unary calls only")
    request_class = message_factory.GetMessageClass(method.input_type)
    reply_class = message_factory.GetMessageClass(method.output_type)
    try:
        message = json_format.ParseDict(request, request_class())
    except json_format.ParseError as error:
        raise Unusable(f"the request is no `{method.input_type.full_name}`: {error}") from None
    unary = channel.unary_unary(
        f"/{service}/{name}",
        request_serializer=request_class.SerializeToString,
        response_deserializer=reply_class.FromString,
    )
    return to_json(unary(message, metadata=metadata, timeout=timeout), method.containing_service.file.pool)


def health(channel, service, timeout):
    """What the server says of its own health."""
    stub = health_pb2_grpc.HealthStub(channel)
    return to_json(stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=timeout))


def to_json(message, pool=None):
    return json_format.MessageToDict(
        message,
        preserving_proto_field_name=True,
        always_print_fields_with_no_presence=True,
        descriptor_pool=pool,
    )


def error_to_json(error):
    status = rpc_status.from_call(error)
    return {
        "code": error.code().name,
        "message": error.details(),
        "details": [detail_to_json(detail) for detail in status.details] if status else [],
    }


def detail_to_json(detail):
    try:
        return to_json(detail)
    except (TypeError, KeyError):
        return {"@type": detail.type_url, "value": base64.b64encode(detail.value).decode()}


def pair(text):
    """A metadata entry `key=value`; the value of a `-bin` key is base64."""
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise argparse.ArgumentTypeError(f"`{text}` is not `key=value`")
    key = key.lower()
    return key, base64.b64decode(value, validate=True) if key.endswith("-bin") else value


def arguments():
    parser = argparse.ArgumentParser(description="Make one gRPC call, by server reflection.")
    parser.add_argument("address", help="host:port")
    parser.add_argument("method", nargs="?", help="package.Service/Method")
    parser.add_argument("request", nargs="?", default="{}", help="the request as JSON; `-` reads standard input")
    parser.add_argument("--metadata", action="append", default=[], type=pair, metavar="KEY=VALUE")
    parser.add_argument("--health", metavar="SERVICE", help="ask for this service's health; '' is the whole server's")
    parser.add_argument("--timeout", type=float, default=10, metavar="SECONDS", help="for each call (default 10)")
    parsed = parser.parse_args()
    if (parsed.method is None) == (parsed.health is None):
        parser.error("give either package.Service/Method or --health SERVICE")
    return parsed


def run(options):
    with grpc.insecure_channel(options.address) as channel:
        if options.health is not None:
            return health(channel, options.health, options.timeout)
        text = sys.stdin.read() if options.request == "-" else options.request
        return call(channel, options.method, json.loads(text), options.metadata, options.timeout)


def main():
    options = arguments()
    try:
        print(json.dumps(run(options)))
        return 0
    except grpc.RpcError as error:
        print(json.dumps(error_to_json(error)))
        return GRPC_ERROR
    except (Unusable, json.JSONDecodeError) as error:
        print(error, file=sys.stderr)
    except Exception:
        traceback.print_exc()
    return BROKEN


if __name__ == "__main__":
    sys.exit(main())
