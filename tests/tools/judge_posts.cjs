// Reads {"x": [texts], "teams": [cards]} and says what twitter-text and Adaptive Cards' own library make of them.
const { readFileSync } = require("node:fs");
global.window = global.self = global;
const given = JSON.parse(readFileSync(0, "utf8"));
const said = {};
if (given.x) {
  const { parseTweet } = require("twitter-text");
  said.x = given.x.map((text) => {
    const { weightedLength, valid } = parseTweet(text);
    return { weightedLength, valid };
  });
}
if (given.teams) {
  const cards = require("adaptivecards/dist/adaptivecards.js");
  said.teams = given.teams.map((card) => {
    const context = new cards.SerializationContext(cards.Versions.v1_4);
    const made = new cards.AdaptiveCard();
    made.parse(card, context);
    const events = Array.from({ length: context.eventCount }, (_, n) => context.getEventAt(n).message);
    const complaints = made.validateProperties().validationEvents.map((one) => one.message);
    // Its pattern for `lang` keeps where it stood after a match, so that every second good one is refused.
    const fair = events.filter((said) => !(said.includes('"lang"') && /^[a-z]{2,3}$/.test(card.lang)));
    return { complaints: fair.concat(complaints), version: made.version.toString(), items: made.getItemCount() };
  });
}
process.stdout.write(JSON.stringify(said));
