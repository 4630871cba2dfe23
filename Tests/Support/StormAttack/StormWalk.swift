import CLinux
import CStorm
import Glibc
import NetmapClient
import NetmapCore

/// One episode of a client's attack: a random walk over connections in all states.
package final class StormWalk {
  private enum State {
    case fresh, token, mailbox
  }

  private struct Conversation {
    let file: CInt
    var state: State
    /// Messages that were sent on it.
    var count = 0
  }

  private let place: StormPlace
  private let board: StormBoard
  private let descriptors: StormDescriptors
  private var messages: StormMessages
  private var conversations: [Conversation] = []
  /// The attacker's ends of sockets for answers.
  private var replies: [CInt] = []
  /// Whether the attacker reads its mailboxes, and its answers, in this episode.
  private var readsMail = true
  private var readsAnswers = true
  private var buffer = [UInt8](repeating: 0, count: 65_536)
  private var arrived = [CInt](repeating: -1, count: Int(CLINUX_MESSAGE_FILES))

  /// The most conversations at a time; two attackers of a user stay within its quota.
  private var conversationsMax: Int { place.peer == .untrusted ? 24 : 40 }
  private static let repliesMax = 32

  package init(_ place: StormPlace, _ board: StormBoard) {
    self.place = place
    self.board = board
    descriptors = StormDescriptors(place)
    messages = StormMessages(place)
  }

  /// Makes the steps of an episode, and closes everything.
  ///
  /// - Parameters:
  ///   - seed: The run's seed.
  ///   - episode: The number of the episode.
  ///   - steps: The number of steps.
  ///   - stolen: Connections of the process that the attacker has not made.
  package func run(seed: UInt64, episode: UInt64, steps: Int, stolen: [CInt] = []) {
    var random = StormRandom(seed: seed, episode, .max)
    readsMail = random.chance(600)
    readsAnswers = random.chance(850)
    conversations = stolen.map { Conversation(file: $0, state: .mailbox) }
    messages.tags = (0..<StormBoard.slotCount).map { board[$0, .tag] }.filter { $0 != 0 }
    for step in 0..<steps {
      board[place.slot, .position] = StormPosition.number(episode: episode, step: UInt64(step))
      var random = StormRandom(seed: seed, episode, UInt64(step))
      self.step(&random)
    }
    for conversation in conversations { close(conversation.file) }
    for file in replies { close(file) }
    (conversations, replies) = ([], [])
    descriptors.closeReceived()
  }

  private func step(_ random: inout StormRandom) {
    let kind = random.below(1000)
    switch kind {
    case 0..<120: connect(&random)
    case 120..<860: send(&random)
    case 860..<910: receive(&random)
    case 910..<935: shutDown(&random)
    case 935..<985: hangUp(&random)
    case 985..<991: forkAndKeep(&random)
    case 991..<993: stop()
    case 993 where random.chance(400): die()
    default: send(&random)
    }
  }

  // MARK: - Connections

  private func connect(_ random: inout StormRandom) {
    if conversations.count >= conversationsMax { hangUp(&random) }
    if place.peer == .local, random.chance(300) {
      // The mode of the socket keeps this user out.
      let file = StormSocket.make()
      if StormSocket.connect(file, place.closedSocket) == 0 {
        board.add(place.slot, .breaches)
      } else {
        board.add(place.slot, .refusals)
      }
      close(file)
      return
    }
    let file = StormSocket.make()
    guard file >= 0 else { return }
    var state = State.fresh
    if random.chance(400) {
      state = .token
      StormSocket.name(file, &random)
    }
    guard StormSocket.connect(file, place.socket) == 0 else {
      board.add(place.slot, .refusals)
      close(file)
      return
    }
    board.add(place.slot, .connections)
    conversations.append(Conversation(file: file, state: state))
  }

  private func hangUp(_ random: inout StormRandom) {
    guard !conversations.isEmpty else { return }
    close(conversations.remove(at: random.below(conversations.count)).file)
  }

  private func shutDown(_ random: inout StormRandom) {
    let how = CInt(random.below(3))
    if random.chance(500), !replies.isEmpty {
      shutdown(random.pick(replies), how)
    } else if !conversations.isEmpty {
      shutdown(random.pick(conversations).file, how)
    }
  }

  // MARK: - Messages

  private func send(_ random: inout StormRandom) {
    if conversations.isEmpty { connect(&random) }
    guard !conversations.isEmpty else { return }
    let index = random.below(conversations.count)
    let state = conversations[index].state
    let kind = kind(in: state, &random)
    var bytes = messages.bytes(of: kind, &random)
    let isDamaged = random.chance(200)
    if isDamaged { StormMessages.damage(&bytes, &random) }
    var files: [CInt] = []
    var owned: [CInt] = []
    var reply: CInt = -1
    // Only a hello on a fresh connection, and the first two kinds on a mailbox, have no socket for an answer.
    let isAnswered = kind >= 16 || (kind == 1 && state != .fresh)
    if random.chance(isAnswered ? 850 : 150) {
      let pair = StormSocket.pair()
      if pair.0 >= 0 {
        reply = pair.0
        files.append(pair.1)
        owned.append(pair.1)
      }
    }
    addFiles(&files, &owned, isRegistration: kind == 16 || kind == 17, &random)
    let waits = readsAnswers && random.chance(kind == 1 ? 900 : kind == 16 ? 700 : 250)
    let start = monotonicNanoseconds()
    let isSent = put(bytes, files, on: conversations[index].file)
    for file in owned { finish(file, isSent: isSent) }
    guard isSent else {
      if reply >= 0 { close(reply) }
      return
    }
    conversations[index].count += 1
    board.add(place.slot, .messages)
    board.add(place.slot, .descriptors, files.count)
    if reply >= 0 { keep(reply, &random) }
    let target = reply >= 0 ? reply : kind == 1 && state == .fresh ? conversations[index].file : -1
    if waits, target >= 0, awaitAnswer(target, kind, on: index, &random) {
      board.raise(place.slot, .worstAnswer, to: monotonicNanoseconds() - start)
    }
    if place.peer == .local, conversations.indices.contains(index) {
      // Such a user gets no further than its first messages.
      if random.chance(500) { close(conversations.remove(at: index).file) }
    } else if kind != 1, state == .fresh, !isDamaged, conversations.indices.contains(index) {
      conversations[index].state = .token
    }
  }

  private func kind(in state: State, _ random: inout StormRandom) -> UInt16 {
    guard random.chance(700) else { return random.pick(StormMessages.kinds) }
    switch state {
    case .fresh: return random.pick([1, 1, 1, 16, 25])
    case .token: return random.pick([16, 16, 16, 25, 27, 1])
    case .mailbox:
      return random.pick(
        place.peer == .untrusted
          ? [2, 3, 18, 28, 18, 17, 24] : [2, 3, 17, 18, 19, 19, 24, 26, 28])
    }
  }

  private func addFiles(
    _ files: inout [CInt], _ owned: inout [CInt], isRegistration: Bool,
    _ random: inout StormRandom
  ) {
    let own = conversations.map(\.file) + replies
    if isRegistration, random.chance(700) {
      let namespace = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC)
      if namespace >= 0 {
        files.append(namespace)
        owned.append(namespace)
      }
      return
    }
    var count = 0
    switch random.below(100) {
    case 0..<55: return
    case 55..<92: count = 1 + random.below(3)
    case 92..<99: count = 4 + random.below(28)
    default: count = Int(CLINUX_MESSAGE_FILES) - files.count
    }
    if random.chance(200) { files = [] }
    var lingering = 0
    for _ in 0..<min(count, Int(CLINUX_MESSAGE_FILES) - files.count) {
      let (file, isOwned) = descriptors.next(&random, own: own)
      guard file >= 0 else { continue }
      files.append(file)
      if isOwned {
        owned.append(file)
        lingering += 1
        if lingering > 6 { break }
      }
    }
    if random.chance(100) { files.reverse() }
  }

  /// Closes a descriptor that only this step needs.
  private func finish(_ file: CInt, isSent: Bool) {
    // The attacker must not wait itself.
    if !isSent { clinux_no_linger(file) }
    close(file)
  }

  private func put(_ bytes: [UInt8], _ files: [CInt], on file: CInt) -> Bool {
    for attempt in 0..<3 {
      if clinux_send(file, bytes, bytes.count, files, files.count, CInt(MSG_DONTWAIT)) >= 0 {
        return true
      }
      switch errno {
      case EAGAIN where attempt < 2:
        var room = pollfd(fd: file, events: Int16(POLLOUT), revents: 0)
        _ = poll(&room, 1, 2)
      case EPIPE, ECONNRESET, ENOTCONN:
        if let index = conversations.firstIndex(where: { $0.file == file }) {
          close(conversations.remove(at: index).file)
        }
        return false
      default: return false
      }
    }
    return false
  }

  private func keep(_ reply: CInt, _ random: inout StormRandom) {
    replies.append(reply)
    if replies.count > Self.repliesMax {
      close(replies.remove(at: random.below(replies.count - 1)))
    }
  }
}

// MARK: - Answers

extension StormWalk {
  private func receive(_ random: inout StormRandom) {
    let files = (readsAnswers ? replies : []) + (readsMail ? conversations.map(\.file) : [])
    guard !files.isEmpty else { return }
    let file = random.pick(files)
    for _ in 0..<8 {
      guard let message = take(file, &random) else { return }
      learn(message.bytes, kind: 0, conversation: nil, message.last)
    }
  }

  /// - Returns: Whether an answer has come.
  private func awaitAnswer(
    _ file: CInt, _ kind: UInt16, on index: Int, _ random: inout StormRandom
  ) -> Bool {
    var state = pollfd(fd: file, events: Int16(POLLIN), revents: 0)
    guard poll(&state, 1, 50) == 1, let message = take(file, &random) else { return false }
    learn(message.bytes, kind: kind, conversation: index, message.last)
    return true
  }

  private func take(_ file: CInt, _ random: inout StormRandom) -> (bytes: [UInt8], last: CInt)? {
    var (count, truncated) = (0, CInt(0))
    let result = clinux_receive(
      file, &buffer, buffer.count, &arrived, &count, &truncated, CInt(MSG_DONTWAIT))
    guard result > 0 else { return nil }
    board.add(place.slot, .answers)
    var last: CInt = -1
    for (number, file) in arrived.prefix(count).enumerated() {
      // The last descriptor of an answer may be a connection.
      if number == count - 1, result < 64 {
        last = dup(file)
      }
      if random.chance(500) { descriptors.keep(file, &random) } else { close(file) }
    }
    return (Array(buffer.prefix(result)), last)
  }

  private func learn(_ bytes: [UInt8], kind: UInt16, conversation: Int?, _ last: CInt) {
    var last = last
    defer { if last >= 0 { close(last) } }
    guard var message = try? Message(bytes) else { return }
    if message.kind == .doorbell, let number = try? message.body.take(UInt32.self) {
      messages.doorbells.append(number)
      if messages.doorbells.count > 16 { messages.doorbells.removeFirst() }
      return
    }
    guard message.kind == .done else { return }
    switch kind {
    case 1:
      guard let slot = try? message.body.take(UInt32.self),
        let epoch = try? message.body.take(UInt32.self)
      else { return }
      let tag = UInt64(epoch) << 32 | UInt64(slot)
      messages.tags.append(tag)
      if messages.tags.count > 12 { messages.tags.removeFirst() }
      board[place.slot, .tag] = tag
      guard let conversation, conversations.indices.contains(conversation) else { return }
      if case .fresh = conversations[conversation].state {
        conversations[conversation].state = .mailbox
      } else if last >= 0, clinux_is_message_socket(last) != 0 {
        conversations.append(Conversation(file: last, state: .mailbox))
        last = -1
      }
    case 16:
      guard let number = try? message.body.take(UInt64.self) else { return }
      messages.bindings.append(number)
      if messages.bindings.count > 16 { messages.bindings.removeFirst() }
    case 28 where last >= 0 && clinux_is_message_socket(last) != 0:
      conversations.append(Conversation(file: last, state: .token))
      last = -1
    default: break
    }
  }
}

// MARK: - Processes

extension StormWalk {
  /// Leaves all descriptors to a child for a while.
  private func forkAndKeep(_ random: inout StormRandom) {
    let time = UInt32(random.below(200_000))
    // A module host has other threads, which may hold locks.
    guard place.peer != .module else { return }
    board.add(place.slot, .forks)
    if clinux_fork() == 0 {
      cstorm_die_with_parent()
      usleep(time)
      _exit(0)
    }
  }

  /// Stops until another process continues it.
  private func stop() {
    board.add(place.slot, .stops)
    raise(SIGSTOP)
  }

  private func die() {
    board.add(place.slot, .deaths)
    kill(getpid(), SIGKILL)
  }
}
