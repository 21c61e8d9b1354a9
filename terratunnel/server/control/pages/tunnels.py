"""`/tunnels`: a new tunnel, a new key for one, and an administrator's deleting of one.

Rule: a key is in the page that answers the form, and in no other; going back to it asks again.
"""

from typing import Annotated

from fastapi import APIRouter, Form
from fastapi.responses import RedirectResponse, Response

from terratunnel.server.control import commands
from terratunnel.server.control.api.parameters import Id
from terratunnel.server.control.deps import Admin, AnySite, SignedIn, Submitting, SubmittingAdmin

router = APIRouter(prefix="/tunnels", include_in_schema=False)

# Longer ones than a name may have get a sentence from the rules, not a form's.
Name = Annotated[str, Form(max_length=1_000)]


@router.get("/new")
async def new_tunnel(site: AnySite, actor: Admin) -> Response:
    """Ask for the name of a new tunnel."""
    return site.pages.page("tunnel_new.html", actor)


@router.post("/new")
async def create_tunnel(site: AnySite, actor: SubmittingAdmin, name: Name = "") -> Response:
    """Create a tunnel, and go on to its key."""
    tunnel = await site.services.accounts.create_tunnel(actor, name)
    return RedirectResponse(f"/tunnels/{tunnel.id}/keys/new", 303)


@router.get("/{tunnel_id}/keys/new")
async def new_key(site: AnySite, actor: SignedIn, tunnel_id: Id) -> Response:
    """Ask whether the tunnel gets a new key, and say what becomes of the old one."""
    own = await site.services.accounts.tunnel(actor, tunnel_id)
    live = site.live.of(own.tunnel.subdomain)
    values = {"own": own, "url": site.url_of(own.tunnel), "live": live}
    return site.pages.page("key_new.html", actor, values)


@router.post("/{tunnel_id}/keys/new")
async def rotate_key(site: AnySite, actor: Submitting, tunnel_id: Id, name: Name = "") -> Response:
    """Give the tunnel a new key, and show it once."""
    made = await site.services.accounts.rotate_key(actor, tunnel_id, name)
    command = commands.client(site.base_url, made.plain)
    values = {"made": made, "url": site.url_of(made.tunnel), "command": command}
    return site.pages.page("key_shown.html", actor, values)


@router.get("/{tunnel_id}/delete")
async def ask_delete(site: AnySite, actor: Admin, tunnel_id: Id) -> Response:
    """Ask whether a tunnel is to be deleted."""
    own = await site.services.accounts.tunnel(actor, tunnel_id)
    return site.pages.page("tunnel_delete.html", actor, {"own": own, "url": site.url_of(own.tunnel)})


@router.post("/{tunnel_id}/delete")
async def delete_tunnel(site: AnySite, actor: SubmittingAdmin, tunnel_id: Id) -> Response:
    """Delete a tunnel with its keys."""
    await site.services.accounts.delete_tunnel(actor, tunnel_id)
    return RedirectResponse("/", 303)
