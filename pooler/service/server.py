"""The gRPC server: its services, its bounds, its address. It answers nothing itself."""

import os

import grpc
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from pooler.service.admin import AdminServicer
from pooler.service.data import PoolerServicer
from pooler.service.health import Health
from pooler.service.sending import BATCH_BYTES
from protos.penstock.v1 import admin_pb2, admin_pb2_grpc, pooler_pb2, pooler_pb2_grpc

RESULT_BYTES_MAX = 128 << 20
"""A unary answer carries a whole page; the configuration allows 64 MiB of it."""
PING_SHARE = 2 / 3
"""Of the time after which a silent caller counts as gone, it is pinged after this share, and has the rest to reply."""


class AddressError(Exception):
    """The address to listen on cannot be had."""


def server(
    data: PoolerServicer,
    admin: AdminServicer | None,
    health_of: Health,
    request_bytes_max: int,
    vanished_seconds: float,
) -> grpc.aio.Server:
    """A server with every service, bound to nothing yet. A caller silent for `vanished_seconds` is disconnected.

    `admin`: None where the DBA's plane is elsewhere.
    """
    built = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", request_bytes_max + BATCH_BYTES),
            ("grpc.max_send_message_length", RESULT_BYTES_MAX),
            ("grpc.so_reuseport", 0),  # a second pooler on the same address must fail, not share its calls
            ("grpc.keepalive_time_ms", round(1000 * vanished_seconds * PING_SHARE)),
            # Without the second one, a process that is frozen and whose kernel still answers is given a minute more.
            ("grpc.keepalive_timeout_ms", round(1000 * vanished_seconds * (1 - PING_SHARE))),
            ("grpc.http2.ping_timeout_ms", round(1000 * vanished_seconds * (1 - PING_SHARE))),
            ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
        ]
    )
    pooler_pb2_grpc.add_PoolerServiceServicer_to_server(data, built)
    # In place of the generated one, which would parse each message: an exchange does, whatever carries it.
    built.add_registered_method_handlers(
        pooler_pb2.DESCRIPTOR.services_by_name["PoolerService"].full_name,
        {"Exchange": grpc.stream_stream_rpc_method_handler(data.Exchange)},
    )
    names = [pooler_pb2.DESCRIPTOR.services_by_name["PoolerService"].full_name]
    if admin is not None:
        names.append(_offer_admin(admin, built))
    return _with_the_usual(built, names, health_of)


def admin_server(admin: AdminServicer, health_of: Health) -> grpc.aio.Server:
    """A server for the DBA's plane alone, bound to nothing yet."""
    built = grpc.aio.server(options=[("grpc.so_reuseport", 0), ("grpc.max_send_message_length", RESULT_BYTES_MAX)])
    return _with_the_usual(built, [_offer_admin(admin, built)], health_of)


def _offer_admin(admin: AdminServicer, built: grpc.aio.Server) -> str:
    admin_pb2_grpc.add_AdminServiceServicer_to_server(admin, built)
    return admin_pb2.DESCRIPTOR.services_by_name["AdminService"].full_name


def _with_the_usual(built: grpc.aio.Server, names: list[str], health_of: Health) -> grpc.aio.Server:
    health_pb2_grpc.add_HealthServicer_to_server(health_of.servicer, built)
    reflection.enable_server_reflection([*names, health.SERVICE_NAME, reflection.SERVICE_NAME], built)
    return built


def bind(built: grpc.aio.Server, address: str, private: bool = False) -> str:
    """Listens on HOST:PORT or unix:PATH; the address as it came out, with the real port. Raises AddressError.

    `private`: a socket is made its owner's alone, before anybody can connect to it.
    """
    mask = os.umask(0o177) if private else None
    try:
        port = built.add_insecure_port(address)
    except RuntimeError as error:
        raise AddressError(f"cannot listen on {address}: it is in use, or not ours to take") from error
    finally:
        if mask is not None:
            os.umask(mask)
    return address if address.startswith("unix:") else f"{address.rpartition(':')[0]}:{port}"
