// A real OpenID Connect provider (oidc-provider, certified by the OpenID Foundation) on loopback, for the tests.
// Arguments: the address that the newsroom's sign-in comes back to. It prints its issuer once it listens.
// Whoever signs in names an account: ADDRESS is a verified address, "?ADDRESS" one that is not verified.
import http from "node:http";
import { Provider } from "oidc-provider";

const [back, secret] = process.argv.slice(2);
const server = http.createServer().listen(0, "127.0.0.1", () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    clients: [{ client_id: "tidings room", client_secret: secret, redirect_uris: [back] }],
    claims: { openid: ["sub"], email: ["email", "email_verified"] },
    cookies: { keys: ["only for tests"] },
    features: { devInteractions: { enabled: false } },
    pkce: { required: () => true },
    interactions: { url: (_, interaction) => `/sign-in/${interaction.uid}` },
    findAccount: (_, id) => ({
      accountId: id,
      claims: () => ({ sub: id, email: id.replace("?", ""), email_verified: !id.startsWith("?") }),
    }),
    loadExistingGrant: async (ctx) => {
      const grant = new ctx.oidc.provider.Grant({ clientId: ctx.oidc.client.clientId, accountId: ctx.oidc.session.accountId });
      grant.addOIDCScope("openid email");
      await grant.save();
      return grant;
    },
  });
  const answer = provider.callback();
  server.on("request", async (request, response) => {
    const { pathname } = new URL(request.url, issuer);
    if (!pathname.startsWith("/sign-in/")) return answer(request, response);
    if (request.method === "GET") {
      response.setHeader("Content-Type", "text/html");
      return response.end('<form method="post"><input name="account"><button>Go on</button></form>');
    }
    let body = "";
    for await (const chunk of request) body += chunk;
    const account = new URLSearchParams(body).get("account");
    const result = account ? { login: { accountId: account } } : { error: "access_denied" };
    await provider.interactionFinished(request, response, result, { mergeWithLastSubmission: false });
  });
  console.log(issuer);
});
