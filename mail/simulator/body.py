"""The HTML body of a mail, for the frame in which it is shown. Pure."""

import base64
import re

from mail.simulator.mails import Mail

IMAGE = re.compile(r"image/[a-z0-9.+-]+")


def html_body(mail: Mail) -> str:
    """As it was sent; pictures that came along and are named by `cid:` are put into it."""
    html = mail.html
    for file in mail.files:
        if file.field == "inline" and IMAGE.fullmatch(file.content_type):
            picture = f"data:{file.content_type};base64,{base64.b64encode(file.content).decode()}"
            html = html.replace(f"cid:{file.name}", picture)
    return html
