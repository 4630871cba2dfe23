internal import Glibc
internal import NetmapClient
internal import NetmapCore

/// A process that is attached to the daemon: its slot, its doorbell, its mailbox.
///
/// It ends when the process dies or lets go of its mailbox (which exec does), never with a token.
final class Client {
  let tag: ClientTag
  let process: Int32
  let user: UInt32
  let group: UInt32
  let mailbox: MessageSocket
  let mailboxKey: UInt64
  let doorbell: Doorbell
  /// A descriptor that becomes readable when the process dies.
  let death: OwnedFile?

  /// When it counts as gone although its process still lives, monotonic nanoseconds: it hung up, which
  /// ending and exec do before everything else of the process has been given up.
  ///
  /// Its mailbox is closed then, and the number of that may be another descriptor's.
  private(set) var leavesAt: UInt64?

  /// Whether it is outside the trust domain, and gets isolated ports only.
  let isStranger: Bool
  /// Of a stranger: what it rings to wake the worker.
  var workerBell: OwnedFile?

  /// Bindings whose rings it may have mapped.
  var seen: Set<BindingID> = []
  /// Clients whose doorbells it has been sent.
  var knows: Set<ClientTag> = []
  /// Mail that did not fit into its mailbox's queue.
  var outbox: [Mail] = []
  /// Ports on switches whose memory it has been sent: generations by switch and index.
  var neighbours: [UInt64: [Int: UInt32]] = [:]

  struct Mail {
    /// Whose doorbell it is.
    var of: ClientTag?
    var bytes: [UInt8]
    /// Descriptors that go with it, and what keeps them open.
    var files: [CInt]
    var owners: [AnyObject]
  }

  init(
    tag: ClientTag, process: Int32, user: UInt32, group: UInt32, mailbox: MessageSocket,
    mailboxKey: UInt64,
    doorbell: Doorbell, death: OwnedFile?,
    isStranger: Bool
  ) {
    self.tag = tag
    self.process = process
    self.user = user
    self.group = group
    self.mailbox = mailbox
    self.mailboxKey = mailboxKey
    self.doorbell = doorbell
    self.isStranger = isStranger
    self.death = death
  }

  /// Tells this process another one's doorbell.
  ///
  /// - Parameters:
  ///   - other: The other.
  ///   - bell: What this process rings; nil for what everybody does.
  /// - Returns: Whether some mail has to wait for room.
  func learn(_ other: Client, bell: OwnedFile? = nil) -> Bool {
    guard leavesAt == nil else { return false }
    guard other !== self, knows.insert(other.tag).inserted else { return !outbox.isEmpty }
    let file = bell ?? other.doorbell.rung
    outbox.append(
      Mail(
        of: other.tag, bytes: Message.bytes(.doorbell) { $0.put(other.tag.doorbell) },
        files: [file.descriptor], owners: [file]))
    return post()
  }

  /// Another process has gone: its doorbell need not be told any more.
  func unlearn(_ other: ClientTag) {
    knows.remove(other)
    outbox.removeAll { $0.of == other }
  }

  /// It has hung up, and counts as gone at that time.
  func leaves(at time: UInt64) {
    leavesAt = time
    outbox = []
    mailbox.close()
  }

  /// Wakes every sleeper of the process.
  func ring() {
    if doorbell.isShared {
      // Somebody can have made it a blocking one, and full.
      var room = pollfd(fd: doorbell.rung.descriptor, events: Int16(POLLOUT), revents: 0)
      guard unsafe poll(&room, 1, 0) == 1, Int32(room.revents) & POLLOUT != 0 else { return }
    }
    ringDoorbell(doorbell.rung.descriptor)
  }

  /// Sends what waits.
  ///
  /// - Returns: Whether some still does.
  func post() -> Bool {
    while let mail = outbox.first {
      do throws(NetmapError) {
        try mailbox.send(mail.bytes, mail.files, waits: false)
      } catch {
        // Anything but a full queue means that the process has gone, which is reported elsewhere.
        guard error.code.isTemporary else {
          outbox = []
          return false
        }
        return true
      }
      outbox.removeFirst()
    }
    return false
  }
}

extension Client {
  /// Tells the process which ports are on a switch, as far as it does not know.
  ///
  /// - Returns: Whether some mail has to wait for room.
  func learn(_ ports: [SwitchNeighbour], on serial: UInt64) -> Bool {
    guard leavesAt == nil else { return false }
    var known = neighbours[serial] ?? [:]
    let now = Dictionary(uniqueKeysWithValues: ports.map { ($0.index, $0.generation) })
    for (index, generation) in known where now[index] != generation {
      known[index] = nil
      outbox.append(
        Mail(bytes: Self.mail(serial, index, generation), files: [], owners: []))
    }
    for port in ports where known[port.index] == nil {
      known[port.index] = port.generation
      outbox.append(
        Mail(
          bytes: Self.mail(serial, port.index, port.generation),
          files: [port.region.descriptor, port.segment.memory.descriptor],
          owners: [port.region, port.segment.memory]))
    }
    neighbours[serial] = known.isEmpty ? nil : known
    return post()
  }

  private static func mail(_ serial: UInt64, _ index: Int, _ generation: UInt32) -> [UInt8] {
    Message.bytes(.neighbour) {
      $0.put(serial)
      $0.put(UInt8(index))
      $0.put(generation)
    }
  }
}
