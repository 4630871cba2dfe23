internal import Glibc
internal import NetmapClient
internal import NetmapCore

/// The news that a client has yet to get, and the news that it has got.
///
/// The outbox holds no messages, only marks for what has changed. The server makes a message when
/// there is room for it, from the state at that moment. So a client that never reads its mail costs
/// the contents of its queue and one entry for each client and each port of its switches, however
/// often ports come and go. The end of a port cancels an announcement that was not sent.
struct Outbox {
  /// The clients whose doorbells the client knows or has yet to get.
  private(set) var known: Set<ClientTag> = []
  /// The clients whose doorbells it has yet to get, in order.
  private(set) var bells: [ClientTag] = []
  /// The ports that it knows: generations, by switch and index.
  private(set) var told: [UInt64: [Int: UInt32]] = [:]
  /// The port indexes of switches that may have changed since.
  private(set) var changed: [UInt64: Set<Int>] = [:]

  var isEmpty: Bool { bells.isEmpty && changed.isEmpty }

  /// Marks another client's doorbell to be sent.
  mutating func introduce(_ other: ClientTag) {
    if known.insert(other).inserted { bells.append(other) }
  }

  /// Drops a client that has gone.
  mutating func forget(_ other: ClientTag) {
    guard known.remove(other) != nil else { return }
    bells.removeAll { $0 == other }
  }

  mutating func hasTold(_ other: ClientTag) {
    if bells.first == other { bells.removeFirst() }
  }

  /// Marks port indexes of a switch that may have changed.
  mutating func note(_ indexes: some Sequence<Int>, on serial: UInt64) {
    changed[serial, default: []].formUnion(indexes)
    if changed[serial]?.isEmpty == true { changed[serial] = nil }
  }

  /// Marks all ports of a switch that the client has left, so that it can unmap them.
  mutating func leave(_ serial: UInt64) {
    changed[serial] = nil
    note(told[serial]?.keys.map { $0 } ?? [], on: serial)
  }

  /// The next index to handle.
  var next: (serial: UInt64, index: Int)? {
    guard let (serial, indexes) = changed.first, let index = indexes.first else { return nil }
    return (serial, index)
  }

  /// Records that the client knows which port has the index, or that none has.
  mutating func hasTold(_ index: Int, on serial: UInt64, _ generation: UInt32?) {
    told[serial, default: [:]][index] = generation
    if told[serial]?.isEmpty == true { told[serial] = nil }
    changed[serial]?.remove(index)
    if changed[serial]?.isEmpty == true { changed[serial] = nil }
  }

  /// Marks a port that the client was told of, and does not have.
  mutating func hasNotGot(_ index: Int, on serial: UInt64) {
    guard told[serial]?[index] != nil else { return }
    hasTold(index, on: serial, nil)
    note([index], on: serial)
  }

  mutating func clear() { self = Outbox() }
}

extension Server {
  /// Sends a client its mail, as far as there is room.
  ///
  /// The rest follows when there is more room.
  func post(to client: Client) {
    guard let mailbox = client.mailbox else { return }
    do throws(NetmapError) {
      while let tag = client.mail.bells.first {
        if let other = clients[tag.slot], other.tag == tag {
          // An untrusted client learns only the worker's doorbell, and rings it on its own doorbell
          // end.
          let isOwnEnd = client.isUntrusted
          guard isOwnEnd || mayPost(to: client, on: mailbox) else { return }
          try mailbox.socket.send(
            Message.bytes(.doorbell) {
              $0.put(tag.doorbell)
              $0.put(UInt8(isOwnEnd ? 1 : 0))
            }, isOwnEnd ? [] : [other.bell.file])
          if !isOwnEnd {
            unread.noteMail(1, on: mailbox.socket)
          }
        }
        client.mail.hasTold(tag)
      }
      while let (serial, index) = client.mail.next {
        // A client that has left the switch is told that its ports are gone.
        let port = client.switches.contains(serial) ? control.neighbours(on: serial)[index] : nil
        let known = client.mail.told[serial]?[index]
        if port?.generation != known {
          if let port {
            guard mayPost(to: client, on: mailbox) else { return }
            let files = [port.region.descriptor, port.segment.memory.descriptor]
            try mailbox.socket.send(Self.mail(serial, index, port.generation), files)
            unread.noteMail(files.count, on: mailbox.socket)
          } else if let known {
            try mailbox.socket.send(Self.mail(serial, index, known))
          }
        }
        client.mail.hasTold(index, on: serial, port?.generation)
      }
      wait(for: mailbox, room: false)
    } catch {
      // A permanent error means that the process has gone, which the server notices elsewhere.
      if error.code.isTemporary {
        // epoll reports when a full queue has room again. It does not report the end of other
        // temporary errors.
        if error.code.rawValue != EAGAIN {
          postsAgainAt = postsAgainAt ?? monotonicNanoseconds() + Self.postPause
        }
        return wait(for: mailbox, room: true)
      }
      client.mail.clear()
      wait(for: mailbox, room: false)
    }
  }

  /// Whether the server may send a client descriptors now.
  ///
  /// If not, it watches for the moment when the client receives some of its mail.
  private func mayPost(to client: Client, on mailbox: Connection) -> Bool {
    if unread.mayPost(on: mailbox.socket, opened: client.lastOpen) { return true }
    wait(for: mailbox, room: true)
    return false
  }

  /// How long the server waits before it tries again to send mail, after any error but a full
  /// queue, nanoseconds.
  private static let postPause: UInt64 = 20_000_000

  /// Sends mail that failed for another reason than a full queue, if it is time.
  func postIfDue() {
    guard let time = postsAgainAt, monotonicNanoseconds() >= time else { return }
    postsAgainAt = nil
    for client in clients.values where !client.mail.isEmpty { post(to: client) }
  }

  /// Sends mail that was waiting for clients to receive something.
  func postAgain() {
    for event in rooms.events(capacity: sources.count) {
      guard case .connection(let connection) = sources[event.key],
        case .mailbox(let client) = connection.state
      else { continue }
      post(to: client)
    }
  }

  private static func mail(_ serial: UInt64, _ index: Int, _ generation: UInt32) -> [UInt8] {
    Message.bytes(.neighbour) {
      $0.put(serial)
      $0.put(UInt8(index))
      $0.put(generation)
    }
  }
}
