"""Headers that tell browsers to distrust everything but the page itself."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_CONTENT_SECURITY_POLICY = {
    "default-src": "'none'",  # nothing, except for
    "script-src": "'self'",
    "style-src": "'self'",
    "connect-src": "'self'",
    "font-src": "'self'",
    "img-src": "'self' blob: data:",  # thumbnails and heatmaps, made in the page
    "media-src": "'self' blob:",  # the camera
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
}

_UNUSED_FEATURES = (
    "accelerometer", "autoplay", "display-capture", "geolocation", "gyroscope", "hid", "magnetometer",
    "microphone", "midi", "payment", "publickey-credentials-get", "serial", "usb", "xr-spatial-tracking",
)  # fmt: skip

SECURITY_HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"content-security-policy", "; ".join(f"{k} {v}" for k, v in _CONTENT_SECURITY_POLICY.items()).encode()),
    (b"permissions-policy", ", ".join(["camera=(self)", *(f"{name}=()" for name in _UNUSED_FEATURES)]).encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)

_OURS = frozenset(name for name, _ in SECURITY_HEADERS) | {b"server", b"x-powered-by"}


class SecurityHeaders:
    """Put `SECURITY_HEADERS` on every response of an application, in place of its own headers of these names."""

    def __init__(self, app: "ASGIApp") -> None:
        self.app = app

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Answer one request, as ASGI defines."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)

        async def send_with_headers(message: "Message") -> None:
            if message["type"] == "http.response.start":
                kept = [(name, value) for name, value in message.get("headers", ()) if name.lower() not in _OURS]
                message = {**message, "headers": [*kept, *SECURITY_HEADERS]}
            await send(message)

        return await self.app(scope, receive, send_with_headers)
