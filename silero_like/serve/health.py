"""gRPC's health service, which orchestrators and load balancers ask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
from grpc_health.v1 import health_pb2

if TYPE_CHECKING:
    from silero_like.serve.app import State


class Health:
    """grpc.health.v1, open as /readyz is: whether requests can be served.

    Args:
        state: what the HTTP application has, too.
        service: the name that may be asked for; none stands for it, too.
    """

    def __init__(self, state: State, service: str) -> None:
        self._state, self._service = state, service

    def handler(self) -> Any:
        """Return what a server is given."""
        check = grpc.unary_unary_rpc_method_handler(
            self._check, health_pb2.HealthCheckRequest.FromString, health_pb2.HealthCheckResponse.SerializeToString
        )
        return grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": check})

    async def _check(self, request: Any, context: Any) -> Any:
        if request.service not in ("", self._service):
            await context.abort(grpc.StatusCode.NOT_FOUND, f"expected the service {self._service} or none")
        is_serving = self._state.pool.is_ready and not self._state.draining.is_set()
        status = health_pb2.HealthCheckResponse.ServingStatus.Value("SERVING" if is_serving else "NOT_SERVING")
        return health_pb2.HealthCheckResponse(status=status)
