internal import Logging
internal import NetmapClient
internal import NetmapCore

extension Server {
  /// Lets a process map the rings of a token's binding that it did not open itself.
  func mapPort(
    _ message: Message, _ arrival: Arrival, token: Connection
  ) throws(NetmapError) -> Reply {
    var body = message.body
    let viewer = try body.takeViewer()
    let client = try client(viewer.rawTag, from: arrival.sender)
    try client.role.check(.mapPort)
    try unread.check(client.user, isUntrusted: client.isUntrusted)
    guard case .token(.bound(let id)) = token.state, let binding = bindings[id] else {
      throw NetmapError(
        .badDescriptor, "attach", "token", reason: "it is not bound to a port",
        remedy: "open the port with it first")
    }
    // Only the memory of an isolated port never contains packets of other users.
    guard !client.isUntrusted || binding.link != nil && binding.user == client.user else {
      throw NetmapError(
        .notPermitted, "attach", binding.registration.name.rawValue,
        reason: "users with isolated ports may use only ports that they opened",
        remedy: "open a port")
    }
    let reply = try describe(
      ControlThread.Bound(registration: binding.registration, recipe: binding.recipe))
    binding.add(client.tag, until: viewer.viewEnd)
    client.seen.insert(id)
    client.lastOpen = monotonicNanoseconds()
    introduce(client, to: binding.segment)
    admit(client, to: binding)
    if let vale = binding.vale { tellNeighbours(on: vale) }
    tellMonitors(of: binding)
    let registration = binding.registration
    log.info(
      "attached", metadata: ["port": "\(registration.name)", "process": "\(client.process)"])
    return reply
  }

  /// Undoes a bind for the client that made it, if no other client has the rings mapped.
  func unbind(
    _ message: Message, _ arrival: Arrival, token: Connection
  ) throws(NetmapError) -> Reply {
    var body = message.body
    let client = try client(try body.takeViewer().rawTag, from: arrival.sender)
    try client.role.check(.unbind)
    guard case .token(.bound(let id)) = token.state, let binding = bindings[id] else {
      throw NetmapError(
        .badDescriptor, "unbind", "token", reason: "it is not bound to a port")
    }
    guard binding.process == client.process, binding.user == client.user,
      binding.viewers.isSubset(of: [client.tag])
    else {
      throw NetmapError(
        .busy, "unbind", binding.registration.name.rawValue,
        reason: "another process has opened or attached the port")
    }
    forget(id, by: client.tag)
    unbind(token)
    return (Message.bytes(.done), [])
  }
}
