"""The suite that every channel passes. Run it with `pytest` where tidings and this package are installed."""

from pydantic import SecretStr
from tidings_gotify.channel import GotifyChannel, Settings, make

from tidings.testing.channel_contract import ChannelContract
from tidings.testing.http_sink import Step

APP_KEY = "AbCdEf.123456-7"


class TestGotify(ChannelContract):
    success = Step(200, b'{"id": 25, "appid": 5, "message": "x"}')
    secrets = (APP_KEY,)

    def make(self, url: str) -> GotifyChannel:
        return self._made(url, private=True)

    def make_public(self, url: str) -> GotifyChannel:
        return self._made(url, private=False)

    def _made(self, url: str, *, private: bool) -> GotifyChannel:
        return make("phones", Settings(type="gotify", server=url, token=SecretStr(APP_KEY), allow_private=private))
