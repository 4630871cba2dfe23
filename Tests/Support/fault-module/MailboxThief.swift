import Glibc
import NetmapClient
import NetmapCore

/// Searches its process for connections to netmapd, and sends requests on them that only netmapd's own user may
/// make.
struct MailboxThief {
  private(set) var asked = 0
  private(set) var granted = 0
  private(set) var refused = 0

  init() {
    let loaded = SwitchRequest.module(
      "vale0", .choose(.loaded(path: "/nonexistent/module.so", configuration: "", fallback: .stop)))
    for file in 3..<CInt(256) {
      var address = sockaddr_un()
      var size = socklen_t(MemoryLayout<sockaddr_un>.size)
      let isConnected = unsafe withUnsafeMutablePointer(to: &address) { pointer in
        unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
          unsafe getpeername(file, $0, &size) == 0
        }
      }
      // The host's own channel to netmapd has no name.
      guard isConnected, address.sun_family == sa_family_t(AF_UNIX), address.sun_path.0 != 0 else {
        continue
      }
      let copy = dup(file)
      guard copy >= 0 else { continue }
      let socket = MessageSocket(owning: copy)
      ask(.control, on: socket) { $0.put(loaded) }
      ask(.control, on: socket) { $0.put(SwitchRequest.module("vale0", .choose(.hub))) }
      ask(.list, on: socket) { $0.put(UInt32(0)) }
      ask(.check, on: socket) { _ in }
    }
  }

  private mutating func ask(
    _ kind: Message.Kind, on socket: MessageSocket, _ write: (inout MessageWriter) -> Void
  ) {
    guard let (mine, theirs) = try? MessageSocket.pair(),
      (try? socket.send(Message.bytes(kind, write), [theirs.descriptor])) != nil
    else { return }
    theirs.close()
    guard let mail = try? mine.receive(within: 2), !mail.bytes.isEmpty,
      let message = try? Message(mail.bytes)
    else { return }
    asked += 1
    if (try? message.answer()) != nil { granted += 1 } else { refused += 1 }
  }
}
