internal import Logging
internal import NetmapClient
internal import NetmapCore

// What a process asks for that has been given a token: it did not open the port, and may have no way to
// the socket that the daemon listens on.

extension Server {
  /// A process becomes a client through a token that it has been given. Whatever is wrong with its
  /// mailbox, the token stays open: others may have it.
  func adopt(_ mail: MessageSocket.Datagram) {
    guard let file = mail.files.first else { return }
    do throws(NetmapError) {
      let socket = MessageSocket(owning: try file.duplicate())
      let key = try watch(socket.descriptor) { _ in .connection(socket) }
      do throws(NetmapError) {
        try welcome(socket, key)
      } catch {
        try? socket.send(Message.refusal(error), waits: false)
        endConnection(key)
        throw error
      }
    } catch {
      log.notice("a mailbox is refused", metadata: ["reason": "\(error)"])
    }
  }

  /// Lets a process map the rings of the binding that a token stands for.
  func attach(
    _ message: Message, tokenKey: UInt64, by reply: MessageSocket
  ) throws(NetmapError) -> Reply {
    guard let id = tokens[tokenKey], let binding = bindings[id] else {
      throw NetmapError(
        .badDescriptor, "attach", "token", reason: "it is bound to no port",
        remedy: "open the port with it first")
    }
    var body = message.body
    let client = try client(try body.take(UInt64.self), on: reply)
    let reply = try describe(
      ControlThread.Bound(registration: binding.registration, attachment: binding.attachment))
    binding.viewers.insert(client.tag)
    client.seen.insert(id)
    introduce(client, to: binding.segment)
    if let bridge = binding.bridge { tellNeighbours(on: bridge) }
    let registration = binding.registration
    log.info(
      "attached", metadata: ["port": "\(registration.name)", "process": "\(client.process)"])
    return reply
  }
}
