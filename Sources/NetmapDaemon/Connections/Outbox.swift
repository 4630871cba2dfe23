internal import Glibc
internal import NetmapClient
internal import NetmapCore

/// What a process has to be told, and what it has been told.
///
/// No message waits here, only what one would be about: a message is made when there is room for it, from what
/// is true then. So a process that never looks at its mail costs what its queue holds and one entry for
/// each client and each port of its switches, however often ports come and go; and an announcement that was
/// not sent is cancelled by the port's end.
struct Outbox {
  /// Clients whose doorbells it knows, or is to be told.
  private(set) var known: Set<ClientTag> = []
  /// Those that it is to be told, in this order.
  private(set) var bells: [ClientTag] = []
  /// Ports that it has been told of: generations, by switch and index.
  private(set) var told: [UInt64: [Int: UInt32]] = [:]
  /// Indexes of switches that may have changed since.
  private(set) var changed: [UInt64: Set<Int>] = [:]

  var isEmpty: Bool { bells.isEmpty && changed.isEmpty }

  /// The process is to know another one's doorbell.
  mutating func introduce(_ other: ClientTag) {
    if known.insert(other).inserted { bells.append(other) }
  }

  /// Another process has gone.
  mutating func forget(_ other: ClientTag) {
    guard known.remove(other) != nil else { return }
    bells.removeAll { $0 == other }
  }

  mutating func hasTold(_ other: ClientTag) {
    if bells.first == other { bells.removeFirst() }
  }

  /// Ports of a switch have come or gone.
  mutating func note(_ indexes: some Sequence<Int>, on serial: UInt64) {
    changed[serial, default: []].formUnion(indexes)
    if changed[serial]?.isEmpty == true { changed[serial] = nil }
  }

  /// The process has left a switch, and need not keep its ports mapped.
  mutating func leave(_ serial: UInt64) {
    changed[serial] = nil
    note(told[serial]?.keys.map { $0 } ?? [], on: serial)
  }

  /// The next index to look at.
  var next: (serial: UInt64, index: Int)? {
    guard let (serial, indexes) = changed.first, let index = indexes.first else { return nil }
    return (serial, index)
  }

  /// The process knows now which port has the index, or that none has.
  mutating func hasTold(_ index: Int, on serial: UInt64, _ generation: UInt32?) {
    told[serial, default: [:]][index] = generation
    if told[serial]?.isEmpty == true { told[serial] = nil }
    changed[serial]?.remove(index)
    if changed[serial]?.isEmpty == true { changed[serial] = nil }
  }

  mutating func clear() { self = Outbox() }
}

extension Server {
  /// Sends a process what it is to be told, as far as there is room. What is left is sent when there is more.
  func post(to client: Client) {
    guard let mailbox = client.mailbox else { return }
    do throws(NetmapError) {
      while let tag = client.mail.bells.first {
        if let other = clients[tag.slot], other.tag == tag {
          // A stranger knows the worker's alone, and rings that on its own doorbell.
          let isOwnEnd = client.isStranger
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
        // Who has left a switch is to forget its ports.
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
      // An error that stays means that the process has gone, which is reported elsewhere.
      if error.code.isTemporary {
        // A full queue tells when there is room; what else passes by does not.
        if error.code.rawValue != EAGAIN {
          postsAgainAt = postsAgainAt ?? monotonicNanoseconds() + Self.postPause
        }
        return wait(for: mailbox, room: true)
      }
      client.mail.clear()
      wait(for: mailbox, room: false)
    }
  }

  /// Whether a process may be sent descriptors now. If not, it is as soon as it has received some of its mail.
  private func mayPost(to client: Client, on mailbox: Connection) -> Bool {
    if unread.mayPost(on: mailbox.socket, opened: client.lastOpen) { return true }
    wait(for: mailbox, room: true)
    return false
  }

  /// How long after mail could not be sent, for another reason than a full queue, it is tried again, nanoseconds.
  private static let postPause: UInt64 = 20_000_000

  /// Sends what has been waiting for that long.
  func postIfDue() {
    guard let time = postsAgainAt, monotonicNanoseconds() >= time else { return }
    postsAgainAt = nil
    for client in clients.values where !client.mail.isEmpty { post(to: client) }
  }

  /// Sends what has been waiting for processes to receive something.
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
