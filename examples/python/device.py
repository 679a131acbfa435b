"""A device in Python: registers with Berth, connects by MQTT, publishes, and follows when an operator moves it.
../device/PROTOCOL.md explains each step. Needs Debian's python3-paho-mqtt (or paho-mqtt 1.x or 2.x)."""
import http.client, json, os, pathlib, random, secrets, ssl, sys, threading, urllib.error, urllib.request, uuid
from urllib.parse import urlsplit
import paho.mqtt.client as mqtt

BERTH, KEY = os.environ["BERTH_URL"] + "/api/v1", os.environ["BERTH_PROVISIONING_KEY"]
FLASH, POLL_S = os.environ.get("DEVICE_FLASH", "device.json"), float(os.environ.get("POLL_SECONDS", 3600))
PAHO_2 = {"callback_api_version": mqtt.CallbackAPIVersion.VERSION2} if hasattr(mqtt, "CallbackAPIVersion") else {}
flash = {"uuid": str(uuid.uuid4()), "key": secrets.token_urlsafe(32)}  # made once, stored before the first call
clients = []  # the connection in use; during a move, also the one that replaces it
wake = threading.Event()  # ends the pause before the next poll

def save(**changes):  # as a whole or not at all, even if the power fails
    flash.update(changes)
    with open(os.open(FLASH + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        print(json.dumps(flash), file=file, flush=True), os.fsync(file.fileno())
    os.replace(FLASH + ".new", FLASH)

def call(method, path, key, body=None, **headers):
    """Status and body of a final reply. Repeats after no or half a reply, 429 and 5xx, with full jitter."""
    headers.update({"Authorization": f"Bearer {key}", "Content-Type": "application/json"})
    request = urllib.request.Request(BERTH + path, body and json.dumps(body).encode(), headers, method=method)
    for attempt in range(sys.maxsize):
        floor, window = 0, 2 ** min(attempt, 6)
        try:
            with urllib.request.urlopen(request, timeout=10) as reply: return reply.status, json.load(reply)
        except urllib.error.HTTPError as error:
            if error.code == 304 or error.code < 500 and error.code != 429: return error.code, error.read().decode()
            wait, reason = error.headers.get("Retry-After", ""), error
            if error.code in (429, 503): floor, window = max(30, min(3600, int(wait) if wait.isdigit() else 0)), 30
        except (OSError, ValueError, http.client.HTTPException) as error: reason = error
        print(f"trying Berth again in {floor} to {floor + window} s ({reason})", flush=True)
        threading.Event().wait(floor + random.uniform(0, window))

def register():
    body = {"uuid": flash["uuid"], "deviceApiKey": flash["key"], "deviceName": "Python device", "deviceType": "example"}
    status, reply = call("POST", "/device/register", KEY, body)
    return reply["mqtt"] if status == 200 else sys.exit(f"not registered: {status} {reply}")

def drop(client): clients.remove(client), client.disconnect(), client.loop_stop()

def follow(new):
    """Stores new settings and connects with them; the former connection ends when that has worked."""
    old = flash.get("mqtt", {})
    save(mqtt={"password": old.get("password"), **new})  # a reply without a password: keep the one you have
    if clients and new["version"] == old.get("version"): return
    for failed in clients[1:]: drop(failed)
    config, url = new.get("brokerConfig", {"clientIdPrefix": "device"}), urlsplit(new["broker"])
    client = mqtt.Client(**PAHO_2, client_id=f"{config['clientIdPrefix']}_{flash['uuid']}",
        clean_session=config.get("cleanSession", True), transport="websockets" if url.scheme[:2] == "ws" else "tcp")
    client.username_pw_set(new["username"], flash["mqtt"]["password"])
    client.ws_set_options(path="/")
    if url.scheme in ("mqtts", "wss"):
        tls = ssl.create_default_context(cadata=config.get("caCert"))
        if not config.get("verifyCertificate", True): tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
        client.tls_set_context(tls)
    own = new["topics"]["publish"][0].rstrip("#")  # a filter, iot/device/UUID/#: topics begin with what precedes the #
    client.will_set(own + "status", "offline", qos=1)
    def on_connect(client, userdata, flags, code, *properties):
        print(f"{new['broker']}: {'connected' if code == 0 else f'refused: {code}'}", flush=True)
        if code != 0: return wake.set()  # it may have been moved: poll now
        client.subscribe([(topic, 1) for topic in new["topics"]["subscribe"]])
        client.publish(own + "status", "online", qos=1)
        for former in clients[:clients.index(client)]: drop(former)
    client.on_connect, client.on_message = on_connect, lambda *got: print(got[2].topic, got[2].payload, flush=True)
    client.reconnect_delay_set(random.uniform(1, 5), 60)
    clients.append(client)
    client.connect_async(url.hostname, url.port, config.get("keepAlive", 60)), client.loop_start()

if os.path.exists(FLASH): flash = json.loads(pathlib.Path(FLASH).read_text())
save(), follow(flash.get("mqtt") or register())
while True:
    known = f'"{flash["mqtt"]["version"]}"' if clients else ""
    status, reply = call("GET", f"/device/{flash['uuid']}/mqtt", flash["key"], **{"If-None-Match": known})
    if status == 200: follow(reply)
    elif status in (401, 404): follow(register())
    elif status == 403: [drop(client) for client in list(clients)]
    elif status != 304: sys.exit(f"not polled: {status} {reply}")
    wake.wait(POLL_S * random.uniform(0.8, 1.2) * (12 if status == 403 else 1)), wake.clear()
