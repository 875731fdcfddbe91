"""The folder of a plant: who has which certificate, and what the broker keeps through a kill."""

from __future__ import annotations

import json
import os
import stat
from datetime import datetime, timezone
from pathlib import Path

import msgspec
import pytest
from cryptography import x509

from lineside.errors import InputError
from lineside.mqtt import Hooks, MqttClient
from lineside_deploy.plant import authority as sign
from lineside_deploy.plant.broker import BrokerSettings
from lineside_deploy.plant.names import station_name, user_name
from lineside_deploy.plant.plant import Plant, make_plant, open_plant
from tests.support.broker import wait_for
from tests.support.clients import QUICK, send
from tests.support.command import lineside
from tests.support.plant import PlantBroker

SETTINGS = BrokerSettings(hosts=["broker.ulm.example", "10.0.0.5"], account="root")


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    return make_plant(tmp_path / "plant", SETTINGS)


def issue(plant: Plant, name: str, **words: bool) -> x509.Certificate:
    return x509.load_pem_x509_certificate(plant.issue(name, sign.new_key().public_key(), **words))


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("ulm", "'ulm' is no station: SITE/STATION is expected"),
        ("ulm/", "'ulm/' is no station"),
        ("/press4", "'/press4' is no station"),
        ("ulm/press4/top", "is no station"),
        ("", "'' is no station"),
        ("ulm/+", r"station '\+' is refused"),
        ("#/press4", "site '#' is refused"),
        ("+/+", r"site '\+' is refused"),
        ("ulm/press 4", "station 'press 4' is refused"),
        ("ulm/press4\n", r"station 'press4\\n' is refused"),
        ("user:ann/x", "site 'user:ann' is refused"),
        (f"{'u' * 40}/{'p' * 40}", "has 81 characters, at most 64 are possible"),
    ],
)
def test_names_that_are_never_issued(name: str, why: str) -> None:
    with pytest.raises(InputError, match=why):
        station_name(name)


@pytest.mark.parametrize("name", ["ann/x", "", "+", "user:ann", "a" * 60])
def test_users_that_are_never_issued(name: str) -> None:
    with pytest.raises(InputError):
        user_name(name)


def test_a_name_is_taken_until_it_is_revoked(plant: Plant) -> None:
    first = issue(plant, "ulm/press4")
    with pytest.raises(InputError, match="ulm/press4 has a certificate already, good until 20"):
        issue(plant, "ulm/press4")
    second = issue(plant, "ulm/press4", renew=True)
    assert plant.revoke("ulm/press4") == 2
    assert plant.revoke("ulm/press4") == 0  # again: it may have been cut
    plant.write()
    listed = x509.load_pem_x509_crl((plant.broker / "revoked.pem").read_bytes())
    serials = {first.serial_number, second.serial_number}
    assert {entry.serial_number for entry in listed} == serials
    with pytest.raises(InputError, match="ulm/press4 has no certificate that is good: make it"):
        issue(plant, "ulm/press4", renew=True)
    issue(plant, "ulm/press4")
    with pytest.raises(InputError, match="ulm/press5 has no certificate"):
        plant.revoke("ulm/press5")


def test_what_was_issued_is_known_to_the_next_command(plant: Plant) -> None:
    issue(plant, "ulm/press4")
    with open_plant(plant.folder) as opened:
        assert opened.issued == plant.issued
        with (
            pytest.raises(InputError, match="another command is under way"),
            open_plant(plant.folder),
        ):
            pytest.fail("both are in")


def test_made_again_it_keeps_its_authority_and_takes_new_hosts(plant: Plant) -> None:
    issue(plant, "ulm/press4")
    names = ("authority/ca.key", "authority/ca.pem", "issued.json", "broker/broker.pem")
    before = {name: (plant.folder / name).read_bytes() for name in names}
    make_plant(plant.folder, SETTINGS)
    assert {name: (plant.folder / name).read_bytes() for name in names} == before
    again = make_plant(plant.folder, BrokerSettings(hosts=["10.0.0.6"], account="root", port=1))
    assert [one.name for one in again.issued] == ["ulm/press4"]
    found = x509.load_pem_x509_certificate((plant.broker / "broker.pem").read_bytes())
    hosts = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(one) for one in hosts.get_values_for_type(x509.IPAddress)] == ["10.0.0.6"]
    assert "listener 1\n" in (plant.broker / "mosquitto.conf").read_text()


def test_keys_are_for_their_owner_alone(plant: Plant) -> None:
    issue(plant, "ulm/press4")
    for name in ("authority/ca.key", "broker/broker.key", "issued.json"):
        assert stat.S_IMODE((plant.folder / name).stat().st_mode) == 0o600
    for name in ("authority", "broker"):
        assert stat.S_IMODE((plant.folder / name).stat().st_mode) == 0o700


def test_the_list_of_the_revoked_never_runs_out_before_the_authority(plant: Plant) -> None:
    listed = x509.load_pem_x509_crl((plant.broker / "revoked.pem").read_bytes())
    authority = plant.authority().certificate
    assert listed.next_update_utc == authority.not_valid_after_utc
    assert listed.is_signature_valid(authority.public_key())  # type: ignore[arg-type]


def test_folders_that_are_no_plants(tmp_path: Path, plant: Plant) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/cat.jpg").touch()
    with pytest.raises(InputError, match="photos holds something else: name a new folder"):
        make_plant(tmp_path / "photos", SETTINGS)
    with (
        pytest.raises(InputError, match=r"is no plant's folder .* make one with 'lineside deploy"),
        open_plant(tmp_path / "photos"),
    ):
        pass
    (plant.folder / "issued.json").write_text('{"issued": [{}]}')
    with (
        pytest.raises(InputError, match=r"issued\.json is damaged .*: put a backup in its place"),
        open_plant(plant.folder),
    ):
        pass
    other = sign.new_authority("other", datetime.now(timezone.utc))
    (plant.folder / "authority/ca.key").write_bytes(sign.key_pem(other.key))
    with pytest.raises(InputError, match="the authority's key is not the one of its certificate"):
        issue(plant, "ulm/press5")


def test_a_file_in_the_way_costs_no_name(plant: Plant, tmp_path: Path) -> None:
    path = tmp_path / "station.pem"
    path.touch()
    done = lineside(
        *("deploy", "station", "new", "ulm/press4", "--plant", plant.folder, "--out", path),
        ok=False,
    )
    assert (
        done.stderr == f"error: {path} is there already: move it away, or name another with --out\n"
    )
    assert not (plant.folder / "issued.json").exists()


def test_hosts_that_are_none(tmp_path: Path) -> None:
    done = lineside("deploy", "broker", tmp_path / "plant", "--host", "a b", ok=False)
    assert "hosts" in done.stderr
    assert not (tmp_path / "plant").exists()


@pytest.mark.broker
def test_what_is_retained_survives_a_kill(tmp_path: Path) -> None:
    with PlantBroker(tmp_path / "plant") as broker:
        station = MqttClient(
            broker.settings(broker.station("ulm/press4")), "press4", backoff_s=QUICK
        )
        user = broker.settings(broker.user("ann"))
        station.start()
        wait_for(lambda: station.connected, what=lambda: station.error)
        send(station, "lineside/ulm/press4/status", b"online", retain=True)
        kept = broker.folder / "broker/data/mosquitto.db"
        wait_for(lambda: kept.exists() and b"online" in kept.read_bytes())  # after the answer
        broker.kill()
        wait_for(lambda: not station.connected)
        wait_for(lambda: station.connected)
        station.stop()
        heard: list[bytes] = []
        listener = MqttClient(user, "ann", subscriptions=("lineside/#",), backoff_s=QUICK)
        listener.start(Hooks(on_message=lambda found: heard.append(found.payload)))
        wait_for(lambda: heard == [b"online"], what=lambda: (listener.error, heard))
        listener.stop()


def test_the_book_holds_no_secret(plant: Plant) -> None:
    issue(plant, "ulm/press4")
    (entry,) = json.loads((plant.folder / "issued.json").read_bytes())["issued"]
    assert {*entry} == {"name", "serial", "until", "may_command", "revoked"}


def test_only_its_own_commands_need_cryptography(tmp_path: Path) -> None:
    hidden = tmp_path / "cryptography.py"
    hidden.write_text("raise ImportError('it is not there')\n")
    env = {"PYTHONPATH": str(tmp_path)}
    assert "station" in lineside("deploy", "--help", env=env).stdout
    done = lineside("deploy", "station", "list", "--plant", tmp_path, env=env, ok=False)
    assert done.stderr.startswith("error: cryptography.x509 is not installed: pip install ")


def test_made_anew_it_is_nobody_elses_meanwhile(plant: Plant) -> None:
    with (
        open_plant(plant.folder),
        pytest.raises(InputError, match="another command is under way"),
    ):
        make_plant(plant.folder, SETTINGS)
    make_plant(plant.folder, SETTINGS)
    with open_plant(plant.folder):  # whose file was replaced
        pass


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to others")
def test_what_a_link_of_the_brokers_leads_to_is_not_given_to_it(tmp_path: Path) -> None:
    plant = make_plant(tmp_path / "plant", msgspec.structs.replace(SETTINGS, account="nobody"))
    secret = tmp_path / "secret"
    secret.touch()
    (plant.broker / "data" / "x").symlink_to(secret)
    plant.write()
    assert secret.stat().st_uid == 0
    assert (plant.broker / "data").stat().st_uid != 0
