import Glibc
import Netmap
import NetmapClient
import NetmapCore
import Synchronization

/// Ports that leave a switch while words in shared memory contradict that.
enum Departing {
  /// Opens a port on a switch, and maps the switch's memory.
  private static func open(
    _ name: String, _ client: RawClient
  ) throws -> (port: RawPort, vale: SwitchSegment) {
    let token = try Wire.connect()
    let (port, answer) = try client.register(name, on: token)
    guard let port, answer.files.count >= 3 else { throw AttackError("\(name): \(answer.text)") }
    return (port, try SwitchSegment(mapping: SharedMemory(mapping: answer.files[2].descriptor)))
  }

  private static func words(
    _ segment: SyncSegment, _ region: SharedMemory, _ direction: Direction
  ) throws -> RingWords {
    guard let words = unsafe RingWords(segment, region, 0, direction, 0) else {
      throw AttackError("no ring")
    }
    return unsafe words
  }

  private static let frame: [UInt8] =
    [255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, 0x66, 0x88, 0xb5]
    + [UInt8](repeating: 6, count: 46)

  /// Makes the worker wake the sleepers of a port that has left.
  ///
  /// Restores the port's generation, sets it as waiting for room in a port that the worker serves, and gives
  /// its sleepers unknown doorbell numbers. The worker then reads its mail in the middle of the wake-up, and
  /// learns there that the port is gone.
  static func wake(_ vale: String, rounds: Int) throws {
    let client = try RawClient()
    for round in 0..<rounds {
      let (leaver, memory) = try open("\(vale):x\(round)", client)
      _ = try client.neighbours()
      // The worker maps the ports that exist when it opens its end.
      let served = try NetmapPort("\(vale):r\(round)/i", engine: HostEngine.shared)
      guard let target = try client.neighbours().last else { throw AttackError("no neighbour") }
      let sender = try NetmapPort("\(vale):s\(round)", engine: HostEngine.shared)
      let waiting = unsafe try words(leaver.segment, leaver.region, .transmit)
      let receiving = unsafe try words(target.segment, target.region, .receive)
      // The worker returns the first slots together with the packets after them.
      func send() throws {
        for _ in 0..<8 { try sender.inject(frame) }
        try sender.sync(.transmit)
      }
      leaver.token.close()
      let view = unsafe memory.view
      let index = Int(leaver.index)
      for _ in 0..<1000 where unsafe view.generation(of: index) != 0 { usleep(1000) }
      usleep(20_000)
      for _ in 0..<20 {
        unsafe view.setGeneration(leaver.generation, of: index, isHidden: true)
        for place in 0..<64 {
          unsafe (leaver.segment.waiters + 4 * place).storeBytes(
            of: 0x2000_0000 + UInt32(place), as: UInt32.self)
        }
        unsafe waiting.word(kring: KRingLayout.waitWord).pointee.store(
          .max, ordering: .sequentiallyConsistent)
        unsafe receiving.word(kring: KRingLayout.holdsSenders).pointee.store(
          1, ordering: .sequentiallyConsistent)
        unsafe receiving.long(kring: KRingLayout.heldSenders + 8 * (index / 64)).pointee.store(
          1 << UInt64(index % 64), ordering: .sequentiallyConsistent)
        try send()
        usleep(2000)
      }
      unsafe view.setGeneration(0, of: index)
      served.close()
      sender.close()
    }
    HostilePeer.say("ready")
    withExtendedLifetime(client) { HostilePeer.waitForEnd() }
  }

  /// Opens and closes a port `count` times, while the lock of the worker's ring, or of the port's own ring,
  /// appears to be held.
  ///
  /// - Parameters:
  ///   - vale: The switch.
  ///   - count: Number of repetitions.
  ///   - holder: The apparent holder of the lock: a process number, or `own`.
  ///   - place: `worker` for the worker's ring; `own` for the ring of the port that is closed.
  /// - Throws: ``AttackError`` when a port cannot be opened.
  static func lock(_ vale: String, _ count: Int, _ holder: String, _ place: String) throws {
    let client = try RawClient()
    let directory = try Directory(
      mapping: SharedMemory(mapping: client.files[0].descriptor, readOnly: true))
    let (first, _) = try open("\(vale):first", client)
    _ = try client.neighbours()
    let served = try NetmapPort("\(vale):r/i", engine: HostEngine.shared)
    guard let target = try client.neighbours().last else { throw AttackError("no neighbour") }
    var tag = client.tag
    if let process = Int32(holder) {
      let tags = (0..<64 as Range<UInt32>).flatMap { slot in
        (1..<256 as Range<UInt32>).map { ClientTag(slot: slot, epoch: $0) }
      }
      guard let found = tags.first(where: { directory.process(of: $0) == process }) else {
        throw AttackError("process \(process) is no client")
      }
      tag = found.rawValue
    }
    for _ in 0..<count {
      let token = try Wire.connect()
      let (port, answer) = try client.register("\(vale):churn", on: token)
      guard let port else { throw AttackError("churn: \(answer.text)") }
      let segment = place == "own" ? port.segment : target.segment
      let region = place == "own" ? port.region : target.region
      for direction in Direction.allCases {
        let ring = unsafe try words(segment, region, direction)
        unsafe ring.long(kring: KRingLayout.lock).pointee.store(
          tag, ordering: .sequentiallyConsistent)
      }
      token.close()
      try Wire.send(.forget, on: client.mailbox, files: []) { $0.put(port.registration.id.number) }
      while let mail = try client.mailbox.receive(waits: false), !mail.bytes.isEmpty {}
    }
    HostilePeer.say("ready")
    withExtendedLifetime((client, served, first.token)) { HostilePeer.waitForEnd() }
  }
}
