internal import Synchronization

/// A word of shared memory that says, by one of its values, that a ring may make progress without a wake-up.
///
/// A sleeper that finds the value after it has announced itself sleeps for 10 milliseconds at most. A process that stores
/// the value wakes the announced sleepers with the next packet.
@unsafe
package struct BriefSleep {
  private let word: UnsafeMutableRawPointer
  private let value: UInt32

  /// - Parameters:
  ///   - word: The word, of 4 bytes.
  ///   - value: The value for which sleeps are brief.
  package init(word: UnsafeMutableRawPointer, value: UInt32) {
    unsafe self.word = unsafe word
    unsafe self.value = value
  }

  /// Whether the word has the value now.
  var isDemanded: Bool {
    unsafe word.assumingMemoryBound(to: Atomic<UInt32>.self)
      .pointee.load(ordering: .sequentiallyConsistent) == value
  }
}
