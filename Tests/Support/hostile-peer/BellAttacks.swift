import CLinux
import Glibc
import Netmap
import NetmapClient
import NetmapCore
import Synchronization

/// Attacks with doorbells, and with the wait words that name doorbells.
enum BellAttacks {
  /// Fills every doorbell that the daemon hands out, makes it blocking, and asks the daemon to ring.
  static func ring(_ name: String, _ flags: AskedFlags) throws {
    let client = try RawClient()
    let port = try client.register(name, flags)
    let (bells, numbers) = try bells(of: client)
    for bell in bells { spoil(bell.descriptor, "fill") }
    for number in numbers + [number(of: client), 0] {
      for _ in 0..<8 {
        try? Wire.send(.ring, on: client.mailbox, files: [], waits: false) { $0.put(number) }
      }
    }
    HostilePeer.say("ready")
    withExtendedLifetime((client, port.token, bells)) { HostilePeer.waitForEnd() }
  }

  /// Damages its own doorbell, and makes every process that shares a ring with it ring that doorbell
  /// repeatedly.
  static func lure(_ name: String, _ flags: AskedFlags, _ way: String) throws {
    let client = try RawClient()
    let raw = try client.register(name, flags)
    let port = try mapPort(raw, client)
    let (bells, numbers) = try bells(of: client)
    for bell in bells { spoil(bell.descriptor, way) }
    HostilePeer.say("ready")
    while true {
      announce(number(of: client), on: raw)
      send(from: port)
      receive(on: port)
      // Rings every other sleeper; the doorbells may be damaged.
      for number in numbers {
        try? Wire.send(.ring, on: client.mailbox, files: [], waits: false) { $0.put(number) }
      }
      usleep(1000)
    }
  }

  /// Exchanges packets with the process at the other end of its pipe.
  static func honest(_ name: String, _ count: Int) throws {
    let port = try NetmapPort(name, engine: HostEngine.shared)
    HostilePeer.say("ready")
    for _ in 0..<count {
      try? port.inject([1, 2, 3])
      try port.sync(.transmit)
      try port.sync(.receive)
      var ring = port.receiveRing(0)
      while ring.next() != nil {}
      try port.sync(.receive)
      usleep(1000)
    }
    HostilePeer.say("passed \(count)")
    HostilePeer.waitForEnd()
  }

  /// Prints whether any process rings this client within three seconds, although it announces itself nowhere.
  static func expectQuiet(_ name: String) throws {
    let client = try RawClient()
    let port = try client.register(name)
    HostilePeer.say("ready \(number(of: client))")
    var state = pollfd(fd: client.files[1].descriptor, events: Int16(POLLIN), revents: 0)
    _ = unsafe poll(&state, 1, 3000)
    HostilePeer.say(Int32(state.revents) & POLLIN == 0 ? "quiet" : "rung")
    withExtendedLifetime(port.token) { HostilePeer.waitForEnd() }
  }

  /// Makes the worker wake another process whenever the worker makes progress on this port.
  static func ringOthers(_ name: String, _ number: UInt32) throws {
    let client = try RawClient()
    let raw = try client.register(name)
    let port = try mapPort(raw, client)
    let bells = try bells(of: client).files
    HostilePeer.say("ready")
    while true {
      announce(number, on: raw)
      send(from: port)
      for bell in bells { ringOnce(bell.descriptor) }
      usleep(500)
    }
  }

  /// Lets other processes ring it `count` times without looking, then sleeps several times until a packet
  /// comes.
  static func unread(_ name: String, _ count: Int) throws {
    let connection = try DaemonConnection()
    let ends = try ["{1", "}1"].map { end throws in
      try connection.register(RegisterRequest(name: try PortName(name + end)))
    }
    let ports = try ends.map { end throws in try end.mapPort(connection) }
    let sleeper = Sleeper(doorbells: connection.doorbells)
    var others = [pollfd(fd: eventfd(0, 0), events: Int16(POLLIN), revents: 0)]
    func sleep(_ nanoseconds: UInt64) throws -> UInt64 {
      let start = monotonicNanoseconds()
      var items = [Sleeper.Item(port: ports[1], wanted: .receive)]
      _ = try sleeper.wait(for: &items, and: &others, timeout: nanoseconds)
      return monotonicNanoseconds() - start
    }
    _ = try sleep(10_000_000)
    let words = unsafe (1..<ends[0].registration.segment.endCount).flatMap { end in
      unsafe Direction.allCases.compactMap { direction in
        unsafe RingWords(
          ends[0].registration.segment, ends[0].registration.region, end, direction, 0)
      }
    }
    for _ in 0..<count {
      for index in unsafe words.indices {
        unsafe words[index].word(kring: KRingLayout.waitWord).pointee.store(
          connection.tag.doorbell + 1, ordering: .sequentiallyConsistent)
      }
      send(from: ports[0])
      receive(on: ports[1])
      // Wait until a process has taken one of the announcements.
      let end = monotonicNanoseconds() + 20_000_000
      while monotonicNanoseconds() < end,
        unsafe words.allSatisfy({
          unsafe $0.word(kring: KRingLayout.waitWord).pointee.load(ordering: .relaxed) != 0
        })
      { sched_yield() }
    }
    usleep(50_000)
    receive(on: ports[1])
    HostilePeer.say("ready")
    var longest: UInt64 = 0
    let sender = Handover(ports[0])
    for _ in 0..<10 {
      let thread = try EngineThread.start("sender") {
        usleep(100_000)
        send(from: sender.port)
      }
      longest = max(longest, try sleep(5_000_000_000))
      pthread_join(thread, nil)
      receive(on: ports[1])
      usleep(20_000)
      receive(on: ports[1])
    }
    HostilePeer.say("woke within \(longest / 1_000_000) ms")
    withExtendedLifetime((ends, connection)) { HostilePeer.waitForEnd() }
  }

  /// Opens ports, and wakes the worker as fast as possible without any work for it.
  static func storm(_ name: String, _ count: Int) throws {
    let client = try RawClient()
    let ports = try (0..<count).map { try client.register("\(name)\($0){1") }
    let bells = try bells(of: client).files
    for bell in bells { _ = fcntl(bell.descriptor, F_SETFL, O_NONBLOCK) }
    HostilePeer.say("ready")
    while true {
      for bell in bells { ringOnce(bell.descriptor) }
    }
    withExtendedLifetime(ports) {}
  }

  // MARK: - Means

  @safe private final class Handover: @unchecked Sendable {
    let port: MappedPort
    init(_ port: MappedPort) { self.port = port }
  }

  private static func number(of client: RawClient) -> UInt32 {
    ClientTag(
      slot: UInt32(truncatingIfNeeded: client.tag), epoch: UInt32(client.tag >> 32)
    ).doorbell
  }

  private static func mapPort(_ port: RawPort, _ client: RawClient) throws -> MappedPort {
    unsafe try MappedPort(
      region: port.region, segment: port.segment, binding: port.registration.bindingIndex,
      tag: ClientTag(
        slot: UInt32(truncatingIfNeeded: client.tag), epoch: UInt32(client.tag >> 32)),
      doorbells: DoorbellTable())
  }

  /// Collects the doorbells that the process may ring or watch, and the doorbell numbers announced to it.
  private static func bells(
    of client: RawClient
  ) throws -> (files: [OwnedFile], numbers: [UInt32]) {
    var (files, numbers) = (client.files, [UInt32]())
    for _ in 0..<10 {
      while let mail = try client.mailbox.receive(waits: false), !mail.bytes.isEmpty {
        guard var message = try? Message(mail.bytes), message.kind == .doorbell else { continue }
        numbers.append(try message.body.take(UInt32.self))
        files += mail.files
      }
      usleep(10_000)
    }
    let bells = files.filter { file in
      var text = [CChar](repeating: 0, count: 64)
      let count = unsafe readlink("/proc/self/fd/\(file.descriptor)", &text, text.count)
      let name = String(
        decoding: text.prefix(max(0, count)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
      return ["socket:", "pipe:", "anon_inode:[eventfd]"].contains { name.hasPrefix($0) }
    }
    return (bells, numbers)
  }

  private static func ringOnce(_ file: CInt) {
    var one: UInt64 = 1
    if unsafe Glibc.send(file, &one, 1, CInt(MSG_DONTWAIT) | CInt(MSG_NOSIGNAL)) < 0,
      errno == ENOTSOCK
    {
      _ = unsafe write(file, &one, 8)
    }
  }

  /// - Parameters:
  ///   - file: A doorbell.
  ///   - way: `fill` makes it full and blocking. `shut` shuts the socket down. `files` queues a message with a
  ///     descriptor. `small` gives it the smallest send buffer.
  private static func spoil(_ file: CInt, _ way: String) {
    switch way {
    case "shut": shutdown(file, CInt(SHUT_RDWR))
    case "files":
      let bytes: [UInt8] = [1]
      _ = unsafe clinux_send(file, bytes, 1, [0], 1, CInt(MSG_DONTWAIT))
    case "small":
      var size: CInt = 1
      _ = unsafe setsockopt(file, SOL_SOCKET, SO_SNDBUF, &size, 4)
    default:
      _ = fcntl(file, F_SETFL, O_NONBLOCK)
      var most = UInt64.max - 1
      // A write to a doorbell that only other processes can send on raises SIGPIPE.
      signal(SIGPIPE, SIG_IGN)
      while unsafe write(file, &most, 8) > 0 {}
      _ = fcntl(file, F_SETFL, 0)
    }
  }

  private static func announce(_ number: UInt32, on port: RawPort) {
    // Writes to the words that the other end reads. The words of this end name the other end's sleepers.
    for end in 1..<port.segment.endCount {
      for direction in Direction.allCases {
        guard let words = unsafe RingWords(port.segment, port.region, end, direction, 0) else {
          continue
        }
        unsafe words.word(kring: KRingLayout.waitWord).pointee.store(
          number &+ 1, ordering: .sequentiallyConsistent)
      }
    }
  }

  private static func send(from port: MappedPort) {
    let ring = unsafe port.transmit(0)
    _ = unsafe ring.synchronizeTransmit(.forceReclaim)
    if unsafe ring.ring.head != ring.ring.tail {
      unsafe ring.ring.slot(ring.ring.head).pointee.length = 60
      let next = unsafe ring.ring.next(ring.ring.head)
      unsafe ring.ring.cur = next
      unsafe ring.ring.head = next
    }
    _ = unsafe ring.synchronizeTransmit([])
  }

  private static func receive(on port: MappedPort) {
    let ring = unsafe port.receive(0)
    _ = unsafe ring.synchronizeReceive([])
    let tail = unsafe ring.ring.tail
    unsafe ring.ring.cur = tail
    unsafe ring.ring.head = tail
    _ = unsafe ring.synchronizeReceive([])
  }
}
