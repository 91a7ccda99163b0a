"""The peer that LitServe is; apart, since its workers import the class by its module."""

from typing import TYPE_CHECKING, Any

import litserve

if TYPE_CHECKING:
    from phase4_deploy.serving.peers import PeerConfig


class Api(litserve.LitAPI):
    """Texts that came within the window, written together."""

    config: "PeerConfig"

    def setup(self, device: str) -> None:
        from phase4_deploy.serving.peers import Model

        self.model = Model(self.config.model, self.config.batch, self.config.threads)

    def decode_request(self, request: dict[str, Any], **_: Any) -> dict[str, Any]:
        return request

    def predict(self, bodies: list[dict[str, Any]], **_: Any) -> list[dict[str, Any]]:
        return self.model.write(bodies)

    def encode_response(self, output: dict[str, Any], **_: Any) -> dict[str, Any]:
        return output


def run(config: "PeerConfig") -> None:
    """Serve until stopped."""
    api = Api(max_batch_size=config.batch, batch_timeout=0.005, api_path="/v1/completions")
    api.config = config
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1, timeout=120)
    server.run(port=config.port, num_api_servers=1, generate_client_file=False, log_level="warning")
