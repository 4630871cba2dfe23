import CLinux
import CStorm
import Glibc
import NetmapClient
import NetmapCore

/// One episode of the attack of a broker on its opener: requests in any order, on one connection after the other.
///
/// The opener ends a broker that sends what no honest broker sends; the attacker then is the next broker.
package final class OpenerWalk {
  private let place: StormPlace
  private let board: StormBoard
  private let descriptors: StormDescriptors
  private var link: CInt = -1
  /// Numbers that the opener has given out, and descriptors that came with its answers.
  private var numbers: [UInt32] = []
  private var files: [CInt] = []
  private var buffer = [UInt8](repeating: 0, count: 16_384)
  private var arrived = [CInt](repeating: -1, count: Int(CLINUX_MESSAGE_FILES))
  /// Copies of descriptors that were sent.
  private var kept: [CInt] = []
  private var hangsLeft: Int
  /// Requests whose answers have not been read.
  private var pending = 0

  private static let version: UInt16 = 5
  private static let filesMax = 12

  package init(_ place: StormPlace, _ board: StormBoard) {
    self.place = place
    self.board = board
    descriptors = StormDescriptors(place)
    hangsLeft = place.hangingFile.isEmpty ? 0 : 1
  }

  package func run(seed: UInt64, episode: UInt64, steps: Int) {
    for step in 0..<steps {
      board[place.slot, .position] = StormPosition.number(episode: episode, step: UInt64(step))
      var random = StormRandom(seed: seed, episode, UInt64(step))
      self.step(&random)
    }
    end()
    descriptors.closeReceived()
  }

  private func end() {
    if link >= 0 {
      // Queues of sockets may have copies, and the opener serves the next broker once this one has hung up.
      shutdown(link, CInt(SHUT_RDWR))
      close(link)
    }
    for file in files { close(file) }
    (link, files, numbers, pending) = (-1, [], [], 0)
  }

  private func step(_ random: inout StormRandom) {
    switch random.below(1000) {
    case 0..<2: end()
    case 2..<4:
      if link >= 0 { shutdown(link, CInt(random.below(3))) }
    case 4..<6:
      board.add(place.slot, .forks)
      let time = UInt32(random.below(100_000))
      if clinux_fork() == 0 {
        cstorm_die_with_parent()
        usleep(time)
        _exit(0)
      }
    case 6..<7:
      board.add(place.slot, .stops)
      raise(SIGSTOP)
    case 7 where random.chance(300):
      board.add(place.slot, .deaths)
      kill(getpid(), SIGKILL)
    default: ask(&random)
    }
  }

  private func connect() -> Bool {
    if link >= 0 { return true }
    let file = socket(
      AF_UNIX, CInt(SOCK_SEQPACKET.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
    // The opener serves one broker at a time.
    guard StormSocket.connect(file, place.socket) == 0 else {
      board.add(place.slot, .refusals)
      close(file)
      return false
    }
    board.add(place.slot, .connections)
    link = file
    return true
  }

  private func ask(_ random: inout StormRandom) {
    guard connect() else { return }
    var bytes = request(&random)
    // An honest broker's requests are never damaged: each of these ends the broker.
    if random.chance(15) { StormMessages.damage(&bytes, &random) }
    var sent: [CInt] = []
    var owned: [CInt] = []
    if random.chance(400) {
      let count = random.chance(990) ? 1 : random.pick([2, 3, 253])
      for _ in 0..<count {
        let (file, isOwned) = descriptor(&random)
        guard file >= 0 else { continue }
        sent.append(file)
        if isOwned { owned.append(file) }
      }
    }
    let isSent =
      clinux_send(link, bytes, bytes.count, sent, sent.count, CInt(MSG_DONTWAIT)) >= 0
    let failure = errno
    // The opener ends a broker whose descriptors do not close. The attacker would wait for its own copies, so it
    // keeps some.
    for file in owned {
      if !isSent { clinux_no_linger(file) }
      kept.append(file)
    }
    while kept.count > 24 {
      let file = kept.removeFirst()
      clinux_no_linger(file)
      close(file)
    }
    guard isSent else {
      if failure != EAGAIN && failure != ETOOMANYREFS { end() }
      return receive(within: 2)
    }
    board.add(place.slot, .messages)
    board.add(place.slot, .descriptors, sent.count)
    pending += 1
    // A broker that reads no answers is ended when its queue is full.
    guard pending >= 16 || random.chance(100), !random.chance(20) else { return }
    while pending > 0, link >= 0 { receive(within: 5000) }
  }

  private func descriptor(_ random: inout StormRandom) -> (CInt, Bool) {
    switch random.below(100) {
    case 0..<25:
      // What an honest broker passes: a region of fixed size.
      let file = memfd_create("storm", UInt32(CLINUX_MFD_ALLOW_SEALING))
      _ = ftruncate(file, 1 << 20)
      _ = fcntl(
        file, CInt(CLINUX_F_ADD_SEALS), CInt(CLINUX_F_SEAL_SHRINK | CLINUX_F_SEAL_GROW))
      return (file, true)
    case 25..<50 where !files.isEmpty: return (random.pick(files), false)
    case 50..<51 where hangsLeft > 0:
      hangsLeft -= 1
      board.add(place.slot, .hangs)
      return (open(place.hangingFile, O_RDWR | O_CLOEXEC), true)
    case 51..<54: return (seal(&random), true)
    default: return descriptors.next(&random, own: link >= 0 ? [link] : [])
    }
  }

  /// A socket that contains a request to run a module.
  private func seal(_ random: inout StormRandom) -> CInt {
    var pair: [CInt] = [-1, -1]
    socketpair(AF_UNIX, CInt(SOCK_SEQPACKET.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0, &pair)
    var bytes = Message.bytes(.control) {
      $0.put(
        SwitchRequest.module(
          "vale0", .choose(.loaded(path: "/etc/passwd", configuration: "", fallback: .learning))))
    }
    if random.chance(300) { StormMessages.damage(&bytes, &random) }
    _ = clinux_send(pair[0], bytes, bytes.count, [], 0, CInt(MSG_DONTWAIT))
    close(pair[0])
    return pair[1]
  }

  private func request(_ random: inout StormRandom) -> [UInt8] {
    var writer = MessageWriter()
    writer.put(Self.version)
    func number(_ random: inout StormRandom) -> UInt32 {
      !numbers.isEmpty && random.chance(850)
        ? random.pick(numbers) : UInt32(truncatingIfNeeded: random.edge())
    }
    func flag(_ random: inout StormRandom) -> UInt32 {
      random.chance(995) ? UInt32(random.below(2)) : 2
    }
    // Requests that change interfaces take long, and a process for a module longer.
    var kind = UInt16(1 + random.below(17))
    if [6, 10, 16].contains(kind), !random.chance(50) { kind = 2 }
    // The kernel takes long to close these sockets.
    if [5, 9].contains(kind), !random.chance(100) { kind = random.pick([1, 3, 7, 8, 11, 13, 15]) }
    if kind == 12, !random.chance(30) { kind = 4 }
    if kind == 14, !random.chance(100) { kind = 3 }
    if random.chance(2) { kind = UInt16(truncatingIfNeeded: random.edge()) }
    writer.put(kind)
    switch kind {
    case 1, 2:
      let names = ["lo", "b0", "b1", "nosuch0", "b0.1", "eth9", "vale0:x", "all", "default"]
      writer.put(
        random.chance(998)
          ? random.pick(names) : random.pick(["", "..", "a/b", "too-long-a-name-1"]))
      writer.put(random.chance(500) ? getpid() : Int32(truncatingIfNeeded: random.edge()))
      writer.put(UInt32(truncatingIfNeeded: random.edge()))
    case 3, 4, 9: writer.put(number(&random))
    case 5:
      let hasMemory = flag(&random)
      writer.put(number(&random))
      writer.put(hasMemory)
      let isValid = hasMemory == 0 || random.chance(990)
      writer.put(isValid ? UInt64(random.below(4)) * 4096 : random.edge())
      writer.put(isValid ? UInt64(1 + random.below(300)) * 4096 : random.edge())
      writer.put(
        isValid ? UInt32(random.pick([2048, 4096])) : UInt32(truncatingIfNeeded: random.edge()))
      writer.put(UInt32(256))
      writer.put(UInt16(truncatingIfNeeded: random.edge()))
    case 6, 10:
      writer.put(number(&random))
      writer.put(flag(&random))
    case 16:
      writer.put(number(&random))
      writer.put(random.chance(990) ? UInt32(1 + random.below(4)) : 0)
    case 17:
      writer.put(number(&random))
      writer.put(flag(&random))
      writer.put(flag(&random))
    case 7, 8:
      writer.put(number(&random))
      writer.put(random.chance(500) ? 0 : UInt32(truncatingIfNeeded: random.edge()))
    case 11: writer.put(flag(&random))
    case 12: writer.put(UInt32(truncatingIfNeeded: random.edge()))
    case 13:
      writer.put(UInt32(truncatingIfNeeded: random.chance(500) ? UInt64(getpid()) : random.edge()))
    case 15:
      writer.put(bytes: (0..<32).map { _ in Array("0123456789abcdef".utf8)[random.below(16)] })
    default: break
    }
    return writer.bytes
  }

  private func receive(within milliseconds: CInt) {
    guard link >= 0 else { return }
    var state = pollfd(fd: link, events: Int16(POLLIN), revents: 0)
    pending = max(0, pending - 1)
    guard poll(&state, 1, milliseconds) == 1 else { return }
    var (count, truncated) = (0, CInt(0))
    let result = clinux_receive(
      link, &buffer, buffer.count, &arrived, &count, &truncated, CInt(MSG_DONTWAIT))
    guard result > 0 else { return end() }
    board.add(place.slot, .answers)
    for file in arrived.prefix(count) {
      files.append(file)
      if files.count > Self.filesMax { close(files.removeFirst()) }
    }
    guard result >= 8, buffer[2] == 0, buffer[3] == 0 else { return }
    let number = (0..<4).reduce(UInt32(0)) { $0 | UInt32(buffer[4 + $1]) << (8 * UInt32($1)) }
    guard number > 0 else { return }
    numbers.append(number)
    if numbers.count > 24 { numbers.removeFirst() }
  }
}
