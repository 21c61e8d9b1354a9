"""`/api/auth/device`: how `terratunnel login` gets a key that somebody approves in a browser (after RFC 8628).

Used by the command line. Rule: who polls needs the code that only they have; who approves needs a session.
"""

from fastapi import APIRouter, Response

from terratunnel.server.auth.links import PollState
from terratunnel.server.control.deps import AnySite, From
from terratunnel.server.control.problems import documented
from terratunnel.server.control.schemas import DeviceCodes, DeviceKey, DevicePoll, DeviceStart, DeviceWaiting
from terratunnel.server.tunnels import NotFound

router = APIRouter(prefix="/api/auth/device", tags=["login"])


@router.post("", responses=documented(400, 413, 422, 429, 503))
async def start(site: AnySite, origin: From, body: DeviceStart) -> DeviceCodes:
    """Begin a login: show `user_code` and the URL, then poll with `device_code`."""
    site.throttle.count(origin.address)
    asked_by = body.client_name if body.client_name.isprintable() else ""
    codes = await site.services.links.start_device(f"{asked_by or 'A client'} at {origin.address or 'this machine'}")
    return DeviceCodes(
        device_code=codes.device_code,
        user_code=codes.user_code,
        verification_url=codes.verification_url,
        verification_url_complete=f"{codes.verification_url}?code={codes.user_code}",
        expires_in_s=codes.expires_in_s,
        interval_s=codes.interval_s,
    )


@router.post("/token", responses={202: {"model": DeviceWaiting}, **documented(400, 404, 413, 422, 503)})
async def poll(response: Response, site: AnySite, origin: From, body: DevicePoll) -> DeviceKey | DeviceWaiting:
    """Return the key, once, as soon as the login is approved: 202 until then, 404 when it is over."""
    found = await site.services.links.poll(body.device_code, origin)
    if found is PollState.EXPIRED:
        raise NotFound("This login is over: it was declined or used, or took too long. Start again.")
    if isinstance(found, PollState):
        response.status_code = 202
        return DeviceWaiting(state="authorization_pending")
    return DeviceKey.of(found, site.url_of(found.tunnel))
