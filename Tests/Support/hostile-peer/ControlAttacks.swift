import CLinux
import CNetmap
import Glibc
import Netmap
import NetmapClient
import NetmapCore
import Synchronization

/// Sequences of messages that the package's own client never sends.
enum ControlAttacks {
  /// Asks for a port, and sends a hello on the same connection before the answer has arrived.
  static func registerHello(_ name: String, rounds: Int) throws {
    let client = try RawClient()
    var bound = 0
    for _ in 0..<rounds {
      let token = try Wire.connect()
      let (mine, theirs) = try MessageSocket.pair()
      let namespace = Wire.namespace()
      try Wire.send(
        .register, on: token,
        files: [theirs.descriptor] + (namespace.map { [$0.descriptor] } ?? [])
      ) {
        if let name = try? PortName(name) {
          $0.put(RegisterRequest(name: name, flags: .exclusive))
        }
        $0.put(client: client.tag)
      }
      theirs.close()
      withExtendedLifetime(namespace) {}
      try? Wire.send(.hello, on: token, files: [])
      if Wire.answer(on: mine, within: 2).isDone { bound += 1 }
      token.close()
      usleep(20_000)
    }
    HostilePeer.say("ready \(bound)")
  }

  /// Becomes a client with mailboxes whose daemon ends it keeps, then hangs up.
  static func keepMailboxes(_ count: Int) throws {
    var kept: [MessageSocket] = []
    var accepted = 0
    for _ in 0..<count {
      let token = try Wire.connect()
      let (mine, theirs) = try MessageSocket.pair()
      try Wire.send(.hello, on: token, files: [theirs.descriptor])
      if Wire.answer(on: mine, within: 5).isDone { accepted += 1 }
      // Hang up on half of each pair; leave the other half open for a moment.
      mine.close()
      kept.append(theirs)
    }
    HostilePeer.say("ready \(accepted)")
    withExtendedLifetime(kept) { HostilePeer.waitForEnd() }
  }

  /// Sets the drop counters of its own port to the maximum.
  static func fillCounters(_ name: String) throws {
    let port = try RawClient().register(name)
    for end in 0..<port.segment.endCount {
      for direction in Direction.allCases {
        for index in 0..<port.segment.ringCount(end: end, direction) {
          guard let words = unsafe RingWords(port.segment, port.region, end, direction, index)
          else { continue }
          for offset in stride(from: KRingLayout.counters, to: KRingLayout.position, by: 8) {
            unsafe words.long(kring: offset).pointee.store(.max, ordering: .relaxed)
          }
          for offset in [KRingLayout.refusedFull, KRingLayout.refusedBusy] {
            unsafe words.long(kring: offset).pointee.store(.max, ordering: .relaxed)
          }
        }
      }
    }
    HostilePeer.say("ready")
    withExtendedLifetime(port.token) { HostilePeer.waitForEnd() }
  }

  /// Closes ports and continues to send from them.
  static func sendAfterClose(_ name: String, _ count: Int) throws {
    let connection = try DaemonConnection()
    var (ports, tokens): ([MappedPort], [Token]) = ([], [])
    for number in 0..<count {
      let opened = try connection.register(
        RegisterRequest(name: try PortName("\(name)\(number)")))
      let mapped = try opened.mapPort(connection)
      mapped.carrier = -1
      ports.append(mapped)
      tokens.append(opened.token)
    }
    // Counts the ports whose packets the worker has carried: the worker returns their slots.
    func send(for nanoseconds: UInt64) -> Int {
      var carried = Set<Int>()
      let end = monotonicNanoseconds() + nanoseconds
      while monotonicNanoseconds() < end {
        for (number, port) in ports.enumerated() {
          let ring = unsafe port.transmit(0)
          let before = unsafe ring.ring.tail
          var place = unsafe ring.ring.head
          while place != before {
            unsafe ring.ring.slot(place).pointee.length = 60
            place = unsafe ring.ring.next(place)
          }
          unsafe ring.ring.cur = before
          unsafe ring.ring.head = before
          _ = unsafe ring.synchronizeTransmit([])
          if unsafe ring.ring.tail != before { carried.insert(number) }
        }
      }
      return carried.count
    }
    _ = send(for: 300_000_000)
    // Close while all rings are full.
    for token in tokens {
      token.close()
      _ = send(for: 2_000_000)
    }
    HostilePeer.say("ready")
    _ = send(for: 4_000_000_000)
    HostilePeer.say("carried \(send(for: 1_000_000_000))")
    withExtendedLifetime(connection) { HostilePeer.waitForEnd() }
  }

  /// Connects and sends nothing.
  static func staySilent(_ count: Int) throws {
    var sockets: [MessageSocket] = []
    let address = try Wire.address()
    while sockets.count < count, let socket = try? address.connect() { sockets.append(socket) }
    HostilePeer.say("ready \(sockets.count)")
    withExtendedLifetime(sockets) { HostilePeer.waitForEnd() }
  }

  /// Asks the daemon to check the memory of all ports.
  static func check() throws {
    let client = try RawClient()
    let answer = try Wire.ask(.check, on: client.mailbox, within: 5)
    HostilePeer.say(answer.isDone ? "got a check" : "\(answer.text)")
  }

  /// Opens and closes ports, but never tells the daemon that it has unmapped them.
  static func neverForget(_ name: String, _ count: Int) throws {
    let client = try RawClient()
    var (opened, refused) = (0, 0)
    for number in 0..<count {
      let token = try Wire.connect()
      let (port, _) = try client.register(
        name.replacing("%", with: "\(number)"), on: token)
      if port == nil { refused += 1 } else { opened += 1 }
      token.close()
      if refused > 20 { break }
    }
    HostilePeer.say("ready \(opened), \(refused) refused")
    withExtendedLifetime(client) { HostilePeer.waitForEnd() }
  }

  /// Connects and asks for ports without receiving the answers.
  static func leaveUnread(_ name: String, _ count: Int) throws {
    let client = try RawClient()
    var kept: [MessageSocket] = []
    var replies: [MessageSocket] = []
    for number in 0..<count {
      let (token, (mine, theirs)) = (try Wire.connect(), try MessageSocket.pair())
      let request = RegisterRequest(name: try PortName(name.replacing("%", with: "\(number)")))
      try? Wire.send(.register, on: token, files: [theirs.descriptor]) {
        $0.put(request)
        $0.put(client: client.tag)
      }
      let mailbox = try Wire.connect()
      try? mailbox.send(Message.bytes(.hello))
      kept += [token, mailbox]
      replies.append(mine)
    }
    HostilePeer.say("ready")
    let end = ContinuousClock.now + .seconds(10)
    var unanswered = count
    while unanswered > 0, ContinuousClock.now < end {
      usleep(50_000)
      unanswered = replies.count { !Wire.isReadable($0) }
    }
    HostilePeer.say("unanswered \(unanswered)")
    withExtendedLifetime((client, kept)) { HostilePeer.waitForEnd() }
  }

  /// Opens and closes a port `count` times, as a normal client does.
  static func reopen(_ name: String, _ count: Int) throws {
    for _ in 0..<count { try NetmapPort(name, engine: HostEngine.shared).close() }
    HostilePeer.say("reopened \(count)")
  }

  /// Opens one port, and prints what it got.
  static func open(_ name: String, _ flags: AskedFlags) throws {
    let client = try RawClient()
    let token = try Wire.connect()
    let (port, answer) = try client.register(
      name, flags, on: token)
    guard let port else {
      HostilePeer.say(answer.text)
      HostilePeer.waitForEnd()
    }
    HostilePeer.say("got \(name), backend \(port.registration.backend?.name ?? "none")")
    withExtendedLifetime((client, port.token)) { HostilePeer.waitForEnd() }
  }

  /// Sends requests as fast as the socket accepts them and reads no answers.
  ///
  /// Requests to open use a new connection each time.
  static func flood(_ kind: String, seconds: Int) throws {
    let client = try RawClient()
    let (mine, theirs) = try MessageSocket.pair()
    HostilePeer.say("ready")
    let end = monotonicNanoseconds() + UInt64(seconds) * 1_000_000_000
    var number = 0
    while monotonicNanoseconds() < end {
      number += 1
      switch kind {
      case "open":
        guard let token = try? Wire.connect() else { continue }
        _ = try? client.register("flood\(getpid())x{1", on: token)
      case "port-info":
        try? Wire.send(.portInfo, on: client.mailbox, files: [theirs.descriptor]) {
          if let name = try? PortName("f\(number){1") {
            $0.put(portInfo: RegisterRequest(name: name), memoryID: 0)
          }
        }
      default:
        try? Wire.send(
          kind == "list" ? .list : .check, on: client.mailbox, files: [theirs.descriptor]
        ) {
          $0.put(UInt32(0))
        }
      }
      while let mail = try? mine.receive(waits: false), !mail.bytes.isEmpty {}
    }
    HostilePeer.waitForEnd()
  }

  /// Locks a ring of its port, breaks off with the daemon, and keeps running.
  static func lockAndLive(_ name: String, _ way: String) throws {
    let client = try RawClient()
    let port = try client.register(name)
    guard let kring = unsafe port.segment.kring(end: 0, .transmit, 0) else {
      throw AttackError("no ring")
    }
    let lock = unsafe (kring.base + KRingLayout.lock).assumingMemoryBound(to: Atomic<UInt64>.self)
    unsafe lock.pointee.store(client.tag, ordering: .sequentiallyConsistent)
    if way == "hang-up" {
      client.mailbox.close()
    } else {
      try Wire.send(.doorbell, on: client.mailbox, files: [])
    }
    for _ in 0..<100 {
      usleep(5000)
      if unsafe lock.pointee.load(ordering: .sequentiallyConsistent) != client.tag {
        HostilePeer.say("the lock is gone")
        HostilePeer.waitForEnd()
      }
    }
    HostilePeer.say("the lock is held")
    withExtendedLifetime((client, port.token)) { HostilePeer.waitForEnd() }
  }

  /// Dies with a locked ring and an announced lease that has the last possible sequence number.
  static func lastSequence(_ name: String) throws {
    let client = try RawClient()
    let port = try client.register(name)
    guard let words = unsafe RingWords(port.segment, port.region, 0, .transmit, 0) else {
      throw AttackError("no ring")
    }
    for (place, value) in [port.index, port.generation, 0, 0, 1, 0].enumerated() {
      unsafe words.word(kring: KRingLayout.intent + 4 * place).pointee.store(
        value, ordering: .relaxed)
    }
    unsafe words.long(kring: KRingLayout.intent + 24).pointee.store(.max, ordering: .relaxed)
    unsafe words.long(kring: KRingLayout.lock).pointee.store(
      client.tag, ordering: .sequentiallyConsistent)
    HostilePeer.say("ready")
    raise(SIGKILL)
  }

  /// Number of buffers in a list.
  ///
  /// While the daemon walks so many, the rewriting thread may not run for some milliseconds.
  private static let circleLength = 16_384

  /// Closes ports whose lists of extra buffers are circular.
  ///
  /// Meanwhile a thread marks every buffer as in use again as fast as the daemon reclaims it, until SIGUSR1
  /// reports that the daemon has served other clients, or for ten seconds.
  static func circle(_ name: String, _ count: Int) throws {
    var signals = sigset_t()
    unsafe sigemptyset(&signals)
    unsafe sigaddset(&signals, SIGUSR1)
    // Before any thread starts, so that all threads inherit the mask.
    unsafe pthread_sigmask(SIG_BLOCK, &signals, nil)
    let client = try RawClient()
    HostilePeer.say("ready")
    for _ in 0..<count {
      let token = try Wire.connect()
      let (opened, answer) = try client.register(name, extraBuffers: circleLength, on: token)
      guard let port = opened else { throw AttackError("\(name): \(answer.text)") }
      // The owners of the buffers in an interface's region are in a separate memory.
      guard let file = answer.files.first(where: { link($0).contains("netmap-owners") }) else {
        throw AttackError("no owner bytes among \(answer.files.map(link))")
      }
      let owners = try SharedMemory(mapping: file.descriptor)
      let (base, buffers, size) = port.segment.buffers
      let region = port.region
      let head = region.load(
        at: port.registration.interfaceOffset + NETMAP_IF_BUFS_HEAD_OFFSET, as: UInt32.self)
      var (members, next) = ([UInt32](), head)
      while next >= 2, next < buffers, members.count < circleLength {
        members.append(next)
        next = region.load(at: base + Int(next) * Int(size), as: UInt32.self)
      }
      guard let last = members.last else { throw AttackError("no list at \(head)") }
      region.store(head, at: base + Int(last) * Int(size))
      let (isRewriting, isOver) = (Flag(), Flag())
      let places = members.map(Int.init)
      let thread = try EngineThread.start("rewriter") {
        while !isOver.isRaised {
          for place in places { owners.store(UInt8(1), at: place) }
          isRewriting.raise()
        }
      }
      while !isRewriting.isRaised { sched_yield() }
      port.token.close()
      HostilePeer.say("closed")
      var patience = timespec(tv_sec: 10, tv_nsec: 0)
      let isTold = unsafe sigtimedwait(&signals, nil, &patience) == SIGUSR1
      isOver.raise()
      pthread_join(thread, nil)
      HostilePeer.say(isTold ? "told" : "gave up")
    }
    HostilePeer.say("done")
    HostilePeer.waitForEnd()
  }

  private static func link(_ file: OwnedFile) -> String {
    var text = [CChar](repeating: 0, count: 128)
    let count = unsafe readlink("/proc/self/fd/\(file.descriptor)", &text, text.count)
    return String(decoding: text.prefix(max(0, count)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }
}

/// A flag that another thread raises once.
final class Flag: Sendable {
  private let value = Atomic<Bool>(false)
  var isRaised: Bool { value.load(ordering: .acquiring) }
  func raise() { value.store(true, ordering: .releasing) }
}
