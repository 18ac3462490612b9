"""The release policy in Chromium: the slider, setting a policy, the alarm, in both colours."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import expect
from sqlalchemy import update

from core.clock import utcnow
from core.release import missing, points_of
from db.models import ReleasePolicy
from db.transitions.tenants import ensure_tenant
from tests.api_under_test import Api
from tests.browser.pages import PHONE, SignIn, check_page
from tests.keyed import keyed_batch


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_a_policy_is_set_and_its_alarm_acknowledged(
    api: Api, sign_in: SignIn, colours: Any
) -> None:
    with api.db.transaction() as s:
        tenant_id = ensure_tenant(s, api.tenant).id
    keyed_batch(api.db, tenant_id, [0.9999] * missing(points_of([]), 100))
    page = sign_in(color_scheme=colours, viewport=PHONE)
    page.goto("/policy")
    expect(page.get_by_role("heading", name="At most one wrong in 1,000")).to_be_visible()
    check_page(page)
    slider = page.get_by_role("slider")
    slider.focus()
    for _ in range(3):
        page.keyboard.press("ArrowLeft")
    expect(slider).to_have_attribute("aria-valuetext", "At most one in 100")
    expect(page.get_by_role("heading", name="At most one wrong in 100")).to_be_visible()
    page.get_by_label("Why").fill("Six weeks of blind keying")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="In force: at most one wrong in 100")).to_be_visible()
    check_page(page)
    with api.db.transaction() as s:
        alarm = {"audited": 40, "wrong": 9}
        ours = update(ReleasePolicy).where(ReleasePolicy.tenant_id == tenant_id)
        s.execute(ours.values(alarm_at=utcnow(), alarm=alarm))
    page.goto("/")
    page.get_by_role("link", name="Too many released values are wrong.").click()
    check_page(page)
    page.get_by_label("What you found and did").fill("A new pen")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Nothing can be released yet.")).to_be_visible()
    expect(page.get_by_role("alert")).to_have_count(0)
