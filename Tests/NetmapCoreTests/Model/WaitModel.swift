import NetmapCore

/// Sleepers and wakers of one ring, run through every order of their accesses to shared memory.
///
/// The code under test is the library's own (``WaitCells``). An actor, a sleeper or a waker, is a function. For
/// each step the model runs that function again from its beginning: earlier accesses get the results that they
/// had, the first new access is recorded, and later ones are ignored. So a state of the model consists of the
/// shared words and of the results of each actor so far. The model visits each state once.
struct WaitModel {
  var sleepers: Int
  var wakers: Int
  /// The number of times that each waker publishes.
  var packets: Int
  var listCount: Int
  /// Whether sleepers withdraw their announcements when they have seen what they waited for.
  var disarms = false
  /// Whether a second sleeper uses the library's former, faulty order: it marks the word first, and lists the
  /// first sleeper afterwards.
  var isFormer = false

  enum Access: Equatable {
    case compareExchange(cell: Int, expected: UInt32, desired: UInt32)
    case exchange(cell: Int, UInt32)
    case load(cell: Int)
    case add(cell: Int)
    /// Sleeps unless the cell holds another value. A sleeper that is not sure to be woken sleeps only briefly.
    case sleep(cell: Int, unless: UInt32, isSure: Bool)
  }

  struct State: Hashable {
    var cells: [UInt32]
    var results: [[UInt32]]
  }

  // Cells: the wait word and its list, the wakers' position, and a bell for each sleeper.
  private var position: Int { listCount + 1 }
  private func bell(_ sleeper: Int) -> Int { listCount + 2 + sleeper }
  private var end: UInt32 { UInt32(wakers * packets) }

  /// - Returns: A state in which sleepers sleep forever (nil when there is none), and the number of states.
  func explore() -> (lost: String?, states: Int) {
    let count = sleepers + wakers
    let first = State(
      cells: [UInt32](repeating: 0, count: listCount + 2 + sleepers),
      results: [[UInt32]](repeating: [], count: count))
    var known: Set<State> = [first]
    var open = [first]
    while let state = open.popLast() {
      var isStuck = true
      var waiting: [Int] = []
      for actor in 0..<count {
        guard let access = next(of: actor, in: state) else { continue }
        waiting.append(actor)
        guard let following = perform(access, by: actor, in: state) else { continue }
        isStuck = false
        if known.insert(following).inserted { open.append(following) }
      }
      if isStuck, !waiting.isEmpty {
        return ("sleepers \(waiting) sleep for ever, cells \(state.cells)", known.count)
      }
    }
    return (nil, known.count)
  }

  private func perform(_ access: Access, by actor: Int, in state: State) -> State? {
    var state = state
    let result: UInt32
    switch access {
    case .compareExchange(let cell, let expected, let desired):
      result = state.cells[cell]
      if result == expected { state.cells[cell] = desired }
    case .exchange(let cell, let value):
      result = state.cells[cell]
      state.cells[cell] = value
    case .load(let cell):
      result = state.cells[cell]
    case .add(let cell):
      result = state.cells[cell]
      state.cells[cell] = result + 1
    case .sleep(let cell, let value, let isSure):
      // A brief sleep ends only after the last packet: an earlier end could hide a lost wake-up.
      guard state.cells[cell] != value || !isSure && state.cells[position] == end else {
        return nil
      }
      result = 0
    }
    state.results[actor].append(result)
    return state
  }

  /// The next access of an actor; nil when it has ended.
  private func next(of actor: Int, in state: State) -> Access? {
    let replay = Replay(results: state.results[actor], listCount: listCount)
    if actor < sleepers { sleep(actor, replay) } else { wake(replay) }
    return replay.pending
  }

  private func sleep(_ sleeper: Int, _ replay: Replay) {
    let mine = UInt32(sleeper + 1)
    while replay.pending == nil {
      let count = replay.load(bell(sleeper))
      let isSure = isFormer ? formerArm(mine, replay) : replay.arm(mine)
      guard replay.load(position) != end, replay.pending == nil else {
        if disarms { replay.disarm(mine) }
        return
      }
      replay.access(.sleep(cell: bell(sleeper), unless: count, isSure: isSure))
    }
  }

  private func wake(_ replay: Replay) {
    for _ in 0..<packets {
      replay.access(.add(cell: position))
      guard replay.load(0) != 0 else { continue }
      replay.takeAll { sleeper in replay.access(.add(cell: bell(Int(sleeper) - 1))) }
    }
  }

  private func formerArm(_ mine: UInt32, _ replay: Replay) -> Bool {
    let (isArmed, found) = replay.compareExchange(0, expected: 0, desired: mine)
    if isArmed || found == mine { return true }
    enlist(mine, replay)
    while replay.pending == nil {
      let previous = replay.exchange(0, .max)
      if previous == 0 || previous == .max { return true }
      enlist(previous, replay)
    }
    return true
  }

  private func enlist(_ sleeper: UInt32, _ replay: Replay) {
    for cell in 1...listCount {
      let (isStored, found) = replay.compareExchange(cell, expected: 0, desired: sleeper)
      if isStored || found == sleeper { return }
    }
  }

  /// Replays the past accesses of one actor, and records its next one.
  private final class Replay: WaitCells {
    private let results: [UInt32]
    private var place = 0
    private(set) var pending: Access?
    let listCount: Int

    init(results: [UInt32], listCount: Int) {
      self.results = results
      self.listCount = listCount
    }

    @discardableResult
    func access(_ access: Access) -> UInt32 {
      if place < results.count {
        place += 1
        return results[place - 1]
      }
      if pending == nil { pending = access }
      return 0
    }

    func load(_ cell: Int) -> UInt32 { access(.load(cell: cell)) }

    func compareExchange(
      _ cell: Int, expected: UInt32, desired: UInt32
    ) -> (exchanged: Bool, original: UInt32) {
      let original = access(.compareExchange(cell: cell, expected: expected, desired: desired))
      return pending == nil ? (original == expected, original) : (true, expected)
    }

    func exchange(_ cell: Int, _ value: UInt32) -> UInt32 { access(.exchange(cell: cell, value)) }
  }
}
