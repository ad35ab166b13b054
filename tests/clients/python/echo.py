"""A server for testing the client itself: one service, described by nothing but reflection.

It takes a free port, prints it as the first line, and ends when its standard input does.
"""

import sys
from concurrent import futures

import grpc
from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory, timestamp_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2
from grpc_status import rpc_status

FIELD = descriptor_pb2.FieldDescriptorProto
SERVICE = "echo.v1.Echo"


def describe():
    """echo/v1/echo.proto, which imports echo/v1/messages.proto, which imports a well-known type."""
    messages = descriptor_pb2.FileDescriptorProto(name="echo/v1/messages.proto", package="echo.v1", syntax="proto3")
    messages.dependency.append("google/protobuf/timestamp.proto")
    for name in ["Request", "Reply"]:
        message = messages.message_type.add(name=name)
        message.field.add(name="some_text", number=1, type=FIELD.TYPE_STRING, label=FIELD.LABEL_OPTIONAL)
        message.field.add(name="big_number", number=2, type=FIELD.TYPE_INT64, label=FIELD.LABEL_OPTIONAL)
        message.field.add(
            name="at",
            number=3,
            type=FIELD.TYPE_MESSAGE,
            type_name=".google.protobuf.Timestamp",
            label=FIELD.LABEL_OPTIONAL,
        )
        message.field.add(name="metadata", number=4, type=FIELD.TYPE_STRING, label=FIELD.LABEL_REPEATED)
    service = descriptor_pb2.FileDescriptorProto(name="echo/v1/echo.proto", package="echo.v1", syntax="proto3")
    service.dependency.append("echo/v1/messages.proto")
    echo = service.service.add(name="Echo")
    for name in ["Say", "Refuse"]:
        echo.method.add(name=name, input_type=".echo.v1.Request", output_type=".echo.v1.Reply")
    pool = descriptor_pool.DescriptorPool()
    known = descriptor_pb2.FileDescriptorProto()
    timestamp_pb2.DESCRIPTOR.CopyToProto(known)
    for file in [known, messages, service]:
        pool.Add(file)
    return pool


def handlers(pool):
    request = message_factory.GetMessageClass(pool.FindMessageTypeByName("echo.v1.Request"))
    reply = message_factory.GetMessageClass(pool.FindMessageTypeByName("echo.v1.Reply"))

    def say(message, context):
        answer = reply.FromString(message.SerializeToString())
        for key, value in context.invocation_metadata():
            if key.startswith("x-"):
                answer.metadata.append(f"{key}={value}")
        return answer

    def refuse(message, context):
        status = status_pb2.Status(code=grpc.StatusCode.INVALID_ARGUMENT.value[0], message="`some_text` is refused")
        bad = error_details_pb2.BadRequest()
        bad.field_violations.add(field="some_text", description="must be empty")
        status.details.add().Pack(bad)
        status.details.append(any_pb2.Any(type_url="type.googleapis.com/echo.v1.Unknown", value=b"\x01\x02"))
        context.abort_with_status(rpc_status.to_status(status))

    def unary(function):
        return grpc.unary_unary_rpc_method_handler(
            function, request_deserializer=request.FromString, response_serializer=reply.SerializeToString
        )

    return grpc.method_handlers_generic_handler(SERVICE, {"Say": unary(say), "Refuse": unary(refuse)})


def reflection_handlers(pool, version):
    servicer = reflection.ReflectionServicer([SERVICE], pool=pool)
    method = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    name = f"grpc.reflection.{version}.ServerReflection"
    return grpc.method_handlers_generic_handler(name, {"ServerReflectionInfo": method})


def main():
    version = sys.argv[1]
    pool = describe()
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
    server.add_generic_rpc_handlers([handlers(pool), reflection_handlers(pool, version)])
    checks = health.HealthServicer()
    checks.set(SERVICE, health_pb2.HealthCheckResponse.NOT_SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    sys.stdin.read()
    server.stop(None)


if __name__ == "__main__":
    main()
