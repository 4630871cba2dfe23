/// Small programs on a processor that performs the accesses of a thread in any order that C11's rules allow.
///
/// x86 keeps most of these orders by itself, so on x86 no test of a running program finds a fence that is missing. This
/// model performs each access of a thread that no earlier access, fence or ordering keeps back, in every interleaving
/// of the threads.
struct WeakOrder {
  enum Order { case relaxed, acquiring, releasing }
  enum FenceKind { case releasing, acquiring, acquiringAndReleasing, sequentiallyConsistent }

  enum Step {
    case store(Int, Int, Order = .relaxed)
    /// Loads a word into a register.
    case load(Int, into: Int, Order = .relaxed)
    case fence(FenceKind)

    fileprivate var isLoad: Bool {
      if case .load = self { true } else { false }
    }

    fileprivate var isFence: Bool {
      if case .fence = self { true } else { false }
    }

    fileprivate var word: Int? {
      switch self {
      case .store(let word, _, _), .load(let word, _, _): word
      case .fence: nil
      }
    }

    fileprivate var order: Order {
      switch self {
      case .store(_, _, let order), .load(_, _, let order): order
      case .fence: .relaxed
      }
    }
  }

  let threads: [[Step]]
  /// Whether the registers show what must not happen.
  let isForbidden: ([Int]) -> Bool

  private static let words = 4

  private struct State: Hashable {
    var words = [Int](repeating: 0, count: WeakOrder.words)
    /// -1 for registers that have not been loaded.
    var registers = [Int](repeating: -1, count: WeakOrder.words)
    var done: [Int]
  }

  /// - Returns: Whether some order of all accesses has a forbidden result.
  func canFail() -> Bool {
    let first = State(done: threads.map { _ in 0 })
    var known: Set<State> = [first]
    var open = [first]
    while let state = open.popLast() {
      if isForbidden(state.registers) { return true }
      for (number, steps) in threads.enumerated() {
        for index in steps.indices where canPerform(index, of: steps, done: state.done[number]) {
          var next = state
          next.done[number] |= 1 << index
          switch steps[index] {
          case .store(let word, let value, _): next.words[word] = value
          case .load(let word, let register, _): next.registers[register] = state.words[word]
          case .fence: break
          }
          if known.insert(next).inserted { open.append(next) }
        }
      }
    }
    return false
  }

  private func canPerform(_ index: Int, of steps: [Step], done: Int) -> Bool {
    guard done & 1 << index == 0, !steps[index].isFence else { return false }
    return (0..<index).allSatisfy { earlier in
      done & 1 << earlier != 0 || !isOrdered(earlier, index, steps)
    }
  }

  /// Whether an access must be performed before a later one of its thread.
  private func isOrdered(_ earlier: Int, _ later: Int, _ steps: [Step]) -> Bool {
    let (first, second) = (steps[earlier], steps[later])
    if first.isFence { return false }
    if first.word == second.word { return true }
    if first.isLoad && first.order == .acquiring { return true }
    if !second.isLoad && second.order == .releasing { return true }
    return steps[earlier..<later].contains { step in
      guard case .fence(let kind) = step else { return false }
      return switch kind {
      case .releasing: !second.isLoad
      case .acquiring: first.isLoad
      case .acquiringAndReleasing: first.isLoad || !second.isLoad
      case .sequentiallyConsistent: true
      }
    }
  }
}
