// What a client knows of a room from its state.

export class Room {
  constructor(id) {
    this.id = id;
    this.members = new Map(); // user id -> membership
    this.encryption = undefined; // content of m.room.encryption; never goes away
    this.visibility = "shared";
    this.name = "";
    this.known = new Set(); // ids of events that were reported
  }

  // apply takes a state event.
  apply(event) {
    switch (event.type) {
      case "m.room.member":
        this.members.set(event.state_key, event.content.membership);
        break;
      case "m.room.encryption":
        this.encryption = event.content;
        break;
      case "m.room.history_visibility":
        this.visibility = event.content.history_visibility ?? "shared";
        break;
      case "m.room.name":
        this.name = event.content.name ?? "";
    }
  }

  // audience is who may read what is sent now.
  audience() {
    const invited = this.visibility !== "joined";
    return [...this.members].filter(([, m]) => m === "join" || (invited && m === "invite")).map(([user]) => user);
  }
}
